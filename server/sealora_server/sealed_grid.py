"""A Flower grid that seals: strategies send and receive over it as over any other and only ever see the mean.

A strategy hands over its messages for the sites; the sealed grid runs the stages of a round with them and hands
back one reply, from nobody in particular: the global adapter plus the weighted mean of the sites' deltas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout
from sealora_common.clip_range import initial_range
from sealora_common.contribution import OpenedRound
from sealora_common.errors import FederationError
from sealora_common.identity import Identity
from sealora_common.order import Purpose, RoundOrder, layout_of, terms_of
from sealora_common.receipt import OpeningProof, Receipt, history_of
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster
from sealora_common.roster_book import RosterBook
from sealora_common.secagg import ProtocolError, ServerSession
from sealora_common.wire_format import (
    ADAPTER,
    ARRAYS,
    CONFIG,
    MASKED,
    ORDER,
    ORDER_SIGNATURE,
    PAYLOAD,
    Action,
    array,
    content_bytes,
    field,
)
from sealora_server.blame import Blame
from sealora_server.catching_up import lacking
from sealora_server.enrolment import Enrolment
from sealora_server.events import EventLog, SiteFailed, SiteReplied, Stage, StageName
from sealora_server.exchange import exchange

HELDOUT_LOSS = "heldout-loss"
WEIGHT = "num-examples"


class SealedGrid(Grid):
    """Wraps a grid. `send_and_receive` runs one sealed round; nothing else reaches the sites."""

    def __init__(
        self,
        grid: Grid,
        *,
        recipe: Recipe,
        roster: Roster,
        layout: AdapterLayout,
        enrolment: Enrolment,
        blame: Blame,
        run_id: str,
        events: EventLog,
        server: Identity,
        rosters: RosterBook,
    ) -> None:
        self._grid = grid
        self._recipe = recipe
        self._roster = roster
        self._layout = layout
        self._enrolment = enrolment
        self._blame = blame
        self._run_id = run_id
        self._events = events
        self._server = server
        self._rosters = rosters
        self.attempt = 1
        self.receipts: list[Receipt] = []
        """The run's receipts so far; with an order each site is sent those it lacks."""
        self.clip_range = initial_range(recipe)
        """Public range of a coordinate in the next round."""
        self.clip_norm = recipe.privacy.clip_norm
        """Clipping norm of the next round."""
        self.opened: OpenedRound | None = None
        self.order: RoundOrder | None = None
        """The order whose sum was opened last."""
        self.opening: OpeningProof | None = None
        """What shows that the sites consented to its opening."""

    def take_roster(self, roster: Roster) -> None:
        """Seals among the sites of `roster` from the next round on."""
        self._roster = roster

    def get_node_ids(self) -> Iterable[int]:
        """The nodes of the sites that are enrolled now."""
        return list(self._enrolment.sites)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Runs the round that `messages` ask for: one `train` or `evaluate` message for each site.

        Returns:
            One reply. Its ArrayRecord holds the new global adapter as the mean of the sites would have it
            (training only), its MetricRecord the mean held-out loss.

        Raises:
            FederationError: too few sites were left, or the sum does not add up. Nothing was opened then.
        """
        asked = list(messages)
        content = asked[0].content
        purpose: Purpose = "train" if asked[0].metadata.message_type == Action.TRAIN else "evaluate"
        current = np.asarray(array(content, ADAPTER), dtype=np.float32)
        round_number = int(field(content, "server-round") or 0)
        trained = self._layout.trained(self._recipe.lora.aggregation, round_number) if purpose == "train" else None
        nodes = [message.metadata.dst_node_id for message in asked]
        sealed = _SealedRound(self, nodes, purpose, round_number, current)
        self.opened = sealed.run()
        self.order, self.opening = sealed.order, sealed.opening

        metrics = MetricRecord({WEIGHT: 1.0})
        if self.opened.heldout_loss is not None:
            metrics[HELDOUT_LOSS] = self.opened.heldout_loss
        reply = RecordDict({"metrics": metrics})
        if trained is not None:
            shared = self._layout.shared(self._recipe.lora.aggregation)
            stepped = shared.add(current, trained, self.opened.mean_delta)
            reply[ARRAYS] = ArrayRecord({ADAPTER: Array(stepped)})
        return [Message(reply, reply_to=asked[0])]

    # The rest of Flower's interface. A strategy that calls these would bypass the seal.

    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> NoReturn:
        raise NotImplementedError("deprecated by Flower: construct flwr.app.Message")

    def push_messages(self, messages: Iterable[Message]) -> NoReturn:
        raise NotImplementedError("a sealed grid exchanges messages by send_and_receive alone")

    def pull_messages(self, message_ids: Iterable[str]) -> NoReturn:
        raise NotImplementedError("a sealed grid exchanges messages by send_and_receive alone")


class _SealedRound:
    """The stages of one round, in order. Sites that fail a stage are left out of the next."""

    def __init__(
        self,
        sealed: SealedGrid,
        nodes: list[int],
        purpose: Purpose,
        round_number: int,
        current: NDArray[np.float32],
    ) -> None:
        self._grid = sealed._grid
        self._recipe = sealed._recipe
        self._roster = sealed._roster
        self._events = sealed._events
        self._blame = sealed._blame
        self._sites = {node: sealed._enrolment.sites[node] for node in nodes}
        self._purpose = purpose
        self._round = round_number
        self._current = current
        self.order = RoundOrder.issue(
            purpose,
            run=sealed._run_id,
            round_number=round_number,
            attempt=sealed.attempt,
            recipe=self._recipe,
            roster=self._roster,
            layout_digest=sealed._layout.digest,
            adapter=current,
            history=history_of(sealed.receipts),
            clip_range=sealed.clip_range,
            clip_norm=sealed.clip_norm,
        )
        self._contributions = layout_of(self.order, self._recipe, self._roster, sealed._layout)
        self._server = sealed._server
        self._receipts = sealed.receipts
        self._rosters = sealed._rosters
        self._held = sealed._enrolment.receipts
        self._terms = terms_of(self.order, self._recipe, self._roster, self._contributions)
        self._session = ServerSession(self._terms, self._roster)
        self.opening: OpeningProof | None = None
        self._failures: dict[str, str] = {}

    def run(self) -> OpenedRound:
        try:
            return self._stages()
        except FederationError as error:
            reasons = "".join(f"; {site}: {reason}" for site, reason in sorted(self._failures.items()))
            raise FederationError(f"{error}{reasons}") from None
        finally:
            for fault in self._session.faults:
                self._blame.note(fault, self._roster)

    def _stages(self) -> OpenedRound:
        session = self._session
        action = Action.TRAIN if self._purpose == "train" else Action.EVALUATE
        timeout = self._recipe.sites.training_timeout
        silent = self._stage(self._purpose, action, self._orders(), session.add_advertisement, timeout=timeout)
        self._note_receipts(silent)
        self._stage("share", Action.SHARE, self._by_node(session.close_advertisements()), session.add_shares)
        self._stage("check", Action.CHECK, self._by_node(session.close_shares()), session.add_check)
        complaints = session.close_checks()
        if complaints:
            self._stage("disclose", Action.DISCLOSE, self._by_node(complaints), session.add_disclosure)
        self._stage("mask", Action.MASK, self._by_node(session.close_disclosures()), session.add_masked)
        self._stage("confirm", Action.CONFIRM, self._by_node(session.close_masked()), session.add_confirmation)
        self._stage("open", Action.OPEN, self._by_node(session.close_confirmations()), session.add_opening)
        opened = session.open()
        self.opening = OpeningProof.of(self._terms, opened)
        return self._contributions.decode(opened)

    def _orders(self) -> dict[int, RecordDict]:
        """The order for every node; they differ in nothing but the receipts that each site lacks."""
        order = {ORDER: self.order.to_bytes(), ORDER_SIGNATURE: self.order.signed_by(self._server)}
        adapter = ArrayRecord({ADAPTER: Array(self._current)})
        contents = {}
        for held in {self._held.get(node, 0) for node in self._sites}:
            fields = order | lacking(self._receipts, held, self._rosters, self._roster)
            contents[held] = RecordDict({ARRAYS: adapter, CONFIG: ConfigRecord(fields)})  # type: ignore[arg-type]
        return {node: contents[self._held.get(node, 0)] for node in self._sites}

    def _note_receipts(self, silent: set[int]) -> None:
        """Who took the order has all receipts. Who refused it may have lost some, so it is sent them all again."""
        for node, site in self._sites.items():
            if node not in silent:
                self._held[node] = 0 if site in self._failures else len(self._receipts)

    def _stage(
        self,
        name: StageName,
        action: Action,
        requests: Mapping[int, RecordDict],
        take: Callable[[bytes], int],
        *,
        timeout: float | None = None,
    ) -> set[int]:
        """Runs one stage; returns the nodes that did not answer at all."""
        self._events.write(Stage(round=self._round, stage=name, sites=len(requests)))

        def on_reply(node: int, content: RecordDict) -> None:
            site = self._sites[node]
            try:
                self._take_from(site, content, take)
            except ProtocolError as error:
                on_error(node, str(error))
                return
            down = content_bytes(requests[node])
            up = content_bytes(content)
            self._events.write(SiteReplied(round=self._round, stage=name, site=site, bytes_up=up, bytes_down=down))

        def on_error(node: int, reason: str) -> None:
            self._failures[self._sites[node]] = reason
            self._events.write(SiteFailed(round=self._round, stage=name, site=self._sites[node], reason=reason))

        limit = timeout or self._recipe.sites.stage_timeout
        return exchange(self._grid, action, requests, timeout=limit, on_reply=on_reply, on_error=on_error)

    def _take_from(self, site: str, content: RecordDict, take: Callable[[bytes], int]) -> None:
        sender = take(_protocol_message(content))
        if self._roster.names[sender] != site:
            raise ProtocolError(f"node of site {site!r} answered for {self._roster.names[sender]!r}: see its identity")

    def _by_node(self, requests: Mapping[int, bytes]) -> dict[int, RecordDict]:
        nodes = {self._roster.index(site): node for node, site in self._sites.items()}
        return {
            nodes[index]: RecordDict({CONFIG: ConfigRecord({PAYLOAD: payload})})
            for index, payload in sorted(requests.items())
        }


def _protocol_message(content: RecordDict) -> bytes:
    masked = array(content, MASKED)
    message = field(content, PAYLOAD) if masked is None else masked.tobytes()
    if not isinstance(message, bytes):
        raise ProtocolError("a site's answer holds no protocol message: it was refused")
    return message
