"""A site's part in one round: check the order, do its work (`work`), then take part in the sealing.

Between two stages all that the round needs is in a `RoundState`, which the caller keeps at the site.
"""

from __future__ import annotations

import logging
import time

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from sealora_client.budget.admission import admit_unless_begun
from sealora_client.delivery.kept_run import KeptRun
from sealora_client.ledger import PaidRelease
from sealora_client.round.closed_runs import require_open
from sealora_client.round.history import History, Told
from sealora_client.round.order_check import check_order
from sealora_client.round.outbox import Outbox
from sealora_client.round.paid_receipts import require_paid
from sealora_client.round.work import RoundWork, second_vector
from sealora_client.site.directory import Site
from sealora_client.training.entropy import training_entropy
from sealora_common.entropy import site_entropy
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.records.site_rounds import SiteRound
from sealora_common.roster import Roster
from sealora_common.round.groups import group_of
from sealora_common.round.order import RoundOrder, layout_of, terms_of
from sealora_common.secagg import RingVector, RoundTerms, SiteSession

log = logging.getLogger(__name__)


class RoundState(BaseModel):
    """What a site remembers of a round from stage to stage. Holds secrets: it never leaves the site."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    order: RoundOrder
    session: bytes
    releases: list[PaidRelease]
    """What the masked vector releases, and the entries of the ledger that pay for it."""
    figures: SiteRound
    """The line for the site's own history."""


class Participation:
    """One site in one round."""

    def __init__(self, site: Site, state: RoundState, encoded: bytes) -> None:
        self._site = site
        self.state = state
        self.encoded = encoded
        """The site's contribution, encoded but not masked; empty once it has been."""

    @classmethod
    def begin(
        cls, site: Site, order: RoundOrder, adapter: NDArray[np.float32], told: Told
    ) -> tuple[Participation, bytes]:
        """Does what the order asks for and makes the keys of the round.

        Args:
            site: this site.
            order: the server's order, its signature checked.
            adapter: the shared part of the global adapter, flat.
            told: receipts of the run that this site lacks, as the server tells them.

        Returns:
            The site's part in the round and its signed advertisement.

        Raises:
            OrderRefusedError: the order is not one this site agreed to, or would spend more privacy than is left.
            SealoraError: the site's own files cannot be used.
        """
        started = time.monotonic()
        recipe = site.recipe
        require_open(site.directory, order.run)
        check_order(site, order, adapter, site.model().layout)
        history = History(site.directory, order.run)
        checked = history.check(told, order, recipe, site.roster)
        require_paid(site, order.run, checked.receipts, recipe)
        group = group_of(order, site.roster, site.name)
        contributions = layout_of(order, recipe, group, site.model().layout)
        work = RoundWork(site, order)
        # Of the round, not of the attempt: under the tests' seed a vector that is sent again is the same to the bit.
        rounding = training_entropy(recipe, site.name, order.purpose, order.round_number, "rounding")
        vector = contributions.encode(work.do(adapter), rounding)
        history.take(checked)  # not before: an order that is refused leaves nothing on the disk
        terms = terms_of(order, recipe, group, contributions)
        keys = site_entropy(site.name, order.purpose, order.round_number, order.attempt, "keys")
        session, advertisement = SiteSession.begin(terms, group, site.identity, keys)
        figures = work.figures.timed(time.monotonic() - started)
        state = RoundState(order=order, session=session.to_bytes(), releases=work.releases, figures=figures)
        return cls(site, state, vector.pack()), advertisement

    def share(self, payload: bytes) -> bytes:
        """Answers the share stage."""
        session = self._session()
        answer = session.share(payload)
        self.state.session = session.to_bytes()
        return answer

    def check(self, payload: bytes) -> bytes:
        """Answers the check stage; tells this site's operator whose shares it could not use."""
        session = self._session()
        answer = session.check(payload)
        for accused in session.complaints:
            log.warning(
                "site %s, round %d: what site %s shared cannot be used; it must answer for that, or takes no part in "
                "this round",
                self._site.name,
                self.state.order.round_number,
                self._group().names[accused],
            )
        self.state.session = session.to_bytes()
        return answer

    def disclose(self, payload: bytes) -> bytes:
        """Answers complaints of what this site shared."""
        session = self._session()
        answer = session.disclose(payload)
        log.warning(
            "site %s, round %d: another site complained of what this one shared, which was disclosed to it; if that "
            "goes on, tell the consortium's coordinator",
            self._site.name,
            self.state.order.round_number,
        )
        self.state.session = session.to_bytes()
        return answer

    def mask(self, payload: bytes) -> bytes:
        """Answers the mask stage. From here on the round's charges are spent, whatever comes of the round.

        The request is checked first, all of it, and the vector is masked; then the charges are marked released, and
        when that is on the disk the vector leaves. A request that gets no vector spends nothing.

        Raises:
            ProtocolError, TooFewSitesError: the request is refused.
            OrderRefusedError: the run does not fit any more, or a vector has left and no second one may.
            BudgetError: what would leave is not paid for any more.
            StorageError: that it leaves could not be written down.
        """
        session = self._session()
        answer = session.mask(payload, RingVector.unpack(self.encoded, self._terms().segments))
        site, order = self._site, self.state.order
        # Judged again: another run may have begun since this one was ordered, and only one of them may fit.
        admit_unless_begun(site, order.run)
        # Not before: a server that invents runs, of which nothing leaves, would fill the disk.
        KeptRun(site.directory, order.run).keep_recipe(site.recipe)
        with site.ledger() as ledger:
            ledger.release(self.state.releases)
        is_first = Outbox(site.directory, order.run).mark_sent(order)
        if mechanism_of(site.recipe).repeat == "refused" and not is_first:
            raise second_vector(order)
        self.state.session = session.to_bytes()
        self.state.figures = self.state.figures.masked(len(answer))
        self.encoded = b""
        return answer

    def confirm(self, payload: bytes) -> bytes:
        """Answers the confirm stage."""
        session = self._session()
        answer = session.confirm(payload)
        names = tuple(self._group().names[index] for index in session.survivors)
        history = History(self._site.directory, self.state.order.run)
        history.confirm(self.state.order, session.transcript, names)
        self.state.session = session.to_bytes()
        return answer

    def open(self, payload: bytes) -> bytes:
        """Answers the last stage; the round's secrets are gone afterwards."""
        session = self._session()
        answer = session.open(payload)
        self.state.session = session.to_bytes()
        return answer

    def finish(self, *, bytes_up: int, bytes_down: int) -> None:
        """Notes the round's figures in the site's own history."""
        self._site.note(self.state.figures.sent(bytes_up=bytes_up, bytes_down=bytes_down))

    def _session(self) -> SiteSession:
        return SiteSession.from_bytes(self.state.session, self._terms(), self._group(), self._site.identity)

    def _terms(self) -> RoundTerms:
        site, order, group = self._site, self.state.order, self._group()
        return terms_of(order, site.recipe, group, layout_of(order, site.recipe, group, site.model().layout))

    def _group(self) -> Roster:
        """The sites that this one is sealed with: worked out from its own roster, not told."""
        return group_of(self.state.order, self._site.roster, self._site.name)
