"""A run's rounds, each as a function: what is wanted of it goes in, what was opened comes out.

In between lie the sites' coming and going, rosters that change, and as many attempts as the recipe allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout
from sealora_common.errors import FederationError
from sealora_common.receipts.receipt import Receipt, history_of
from sealora_common.records.events import RoundAborted, SitesReady, SumSpoilt, TooFewSites, TurnedAway
from sealora_common.roster import Roster, require_succession
from sealora_common.round.groups import require_dealable
from sealora_common.round.order import Purpose, RoundOrder
from sealora_server.run.blame import Blame
from sealora_server.run.enrolment import Enrolment
from sealora_server.run.sealed_round import Federation, RoundFailedError, SealedSum, seal_round
from sealora_server.run.store import RunStore
from sealora_server.run.suspects import OpenedGroup, Suspects

Choice = Callable[[Sequence[int]], Sequence[int]]


@dataclass(frozen=True)
class RoundRequest:
    """What is wanted of a round.

    Attributes:
        purpose: to train or to evaluate.
        round_number: from 1; an evaluation has the number after the last round's.
        adapter: the shared part of the global adapter, float32, shape (P,).
        receipts: of the run so far; with its order each site is sent those it lacks.
        clip_range: public range of a coordinate.
        clip_norm: clipping norm.
    """

    purpose: Purpose
    round_number: int
    adapter: NDArray[np.float32]
    receipts: Sequence[Receipt]
    clip_range: float
    clip_norm: float


class Attempts:
    """The sites of one run, among whom rounds are held.

    Args:
        grid: where the sites' nodes are.
        store: the run's.
        roster: the run's present one; the next may come to lie in the run's directory at any time.
    """

    def __init__(self, grid: Grid, store: RunStore, roster: Roster) -> None:
        self._grid = grid
        self._store = store
        self._recipe = store.recipe
        self._roster = roster
        self._server = store.server_identity()
        self._blame = Blame(store.directory, store.events)
        self._enrolment = Enrolment(
            grid, store.recipe, roster, store.run_id, self._blame.sites, lambda: store.finished_rounds
        )
        self._suspects = Suspects()
        self._told_away: tuple[TurnedAway, ...] | None = None
        store.rosters.keep(roster)

    def open(self, request: RoundRequest, choose: Choice) -> SealedSum:
        """Holds a round, as often as the recipe allows.

        An attempt that shows who broke the protocol is not counted: the next one goes on without that site.

        Args:
            request: what is wanted.
            choose: which of the enrolled nodes take part, asked anew for each attempt.

        Raises:
            FederationError: it failed too often. Nothing was opened.
        """
        failed = attempt = 0
        while True:
            attempt += 1
            try:
                self._take_new_roster()
                layout = self.gather()
                return self._attempt(request, attempt, layout, choose(list(self._enrolment.sites)))
            except FederationError as error:
                self._store.events.write(RoundAborted(round=request.round_number, attempt=attempt, reason=str(error)))
                failed += not (isinstance(error, RoundFailedError) and error.blamed)
                if failed == self._recipe.sites.round_attempts:
                    name = "the final evaluation" if request.purpose == "evaluate" else f"round {request.round_number}"
                    times = "once" if attempt == 1 else f"{attempt} times, last"
                    raise FederationError(
                        f"{name} failed {times} because {error}: mend that, then resume the run"
                    ) from error

    def gather(self) -> AdapterLayout:
        """Waits for the sites, and tells who takes no part and why: at first, and whenever that is no longer the same.

        Raises:
            FederationError: they are too few.
        """
        try:
            layout = self._enrolment.wait()
        except FederationError:
            self._told_away = None
            self._tell_attendance(TooFewSites)
            raise
        if self._told_away != self._enrolment.turned_away:
            self._told_away = self._enrolment.turned_away
            self._tell_attendance(SitesReady)
        return layout

    def _attempt(self, request: RoundRequest, attempt: int, layout: AdapterLayout, nodes: Sequence[int]) -> SealedSum:
        require_dealable(self._recipe, len(self._roster))
        order = RoundOrder.issue(
            request.purpose,
            run=self._store.run_id,
            round_number=request.round_number,
            attempt=attempt,
            recipe=self._recipe,
            roster=self._roster,
            layout_digest=layout.digest,
            adapter=request.adapter,
            history=history_of(request.receipts),
            clip_range=request.clip_range,
            clip_norm=request.clip_norm,
            groups=self._suspects.groups(self._recipe, len(self._roster)),
        )
        federation = Federation(
            grid=self._grid,
            recipe=self._recipe,
            roster=self._roster,
            layout=layout,
            sites={node: self._enrolment.sites[node] for node in nodes},
            held=self._enrolment.receipts,
            receipts=request.receipts,
            rosters=self._store.rosters,
            server=self._server,
            events=self._store.events,
            blame=self._blame,
        )
        try:
            sealed = seal_round(federation, order, request.adapter)
        except RoundFailedError as error:
            self._suspect(order, error.sums)
            raise
        self._suspect(order, sealed.sums)
        return sealed

    def _suspect(self, order: RoundOrder, sums: Sequence[OpenedGroup]) -> None:
        """Narrows down who has spoilt a sum, and tells the operator who is left."""
        self._suspects.learn(sums)
        if not all(group.adds_up for group in sums):
            self._store.events.write(
                SumSpoilt(round=order.round_number, attempt=order.attempt, suspects=self._suspects.names)
            )

    def _tell_attendance(self, kind: type[SitesReady] | type[TooFewSites]) -> None:
        enrolled = self._enrolment
        self._store.events.write(
            kind(
                sites=enrolled.ready,
                needed=enrolled.needed,
                turned_away=enrolled.turned_away,
                missing=enrolled.missing,
            )
        )

    def _take_new_roster(self) -> None:
        """From the next attempt on, the sites are those of the roster that lies in the run's directory now."""
        roster = following_roster(self._store.directory / "roster.json", self._roster)
        if roster is not None:
            self._roster = roster
            self._store.rosters.keep(roster)
            self._enrolment.take_roster(roster)


def following_roster(path: Path, present: Roster) -> Roster | None:
    """The roster in a file, if it follows the present one; None if there is no other.

    Raises:
        PolicyError: it is another coordinator's, or does not follow.
    """
    if not path.exists():
        return None
    roster = Roster.load(path, coordinator=present.coordinator_pin)
    if roster.hash == present.hash:
        return None
    require_succession(roster, present.sequence, present.hash.hex(), f"{path}: ")
    return roster
