"""A Flower grid that seals: strategies send and receive over it as over any other and only ever see the mean.

A strategy hands over its messages for the sites; the sealed grid runs the stages of a round with them and hands
back one reply, from nobody in particular: the global adapter plus the weighted mean of the sites' deltas, or, where
the recipe seals in groups, what `sealora_common.round.robust_mean` makes of the groups' means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout
from sealora_common.identity import Identity
from sealora_common.receipts.receipt import OpeningProof, Receipt, history_of
from sealora_common.recipe import Recipe
from sealora_common.records.events import EventLog, SumSpoilt
from sealora_common.roster import Roster
from sealora_common.roster.book import RosterBook
from sealora_common.round.clip_range import initial_range
from sealora_common.round.contribution import OpenedRound
from sealora_common.round.groups import require_dealable
from sealora_common.round.order import Purpose, RoundOrder
from sealora_common.round.wire_format import ADAPTER, ARRAYS, Action, array, field
from sealora_server.run.blame import Blame
from sealora_server.run.enrolment import Enrolment
from sealora_server.run.sealed_round import Federation, SealedRound
from sealora_server.run.suspects import Suspects

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
        self.receipts: Sequence[Receipt] = ()
        """The run's receipts so far; with an order each site is sent those it lacks."""
        self.clip_range = initial_range(recipe)
        """Public range of a coordinate in the next round."""
        self.clip_norm = recipe.privacy.clip_norm
        """Clipping norm of the next round."""
        self.opened: OpenedRound | None = None
        self.order: RoundOrder | None = None
        """The order whose sum was opened last."""
        self.openings: list[OpeningProof] = []
        """What shows that the sites consented to its opening, for each group."""
        self._suspects = Suspects()

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
        sealed = self._begin([message.metadata.dst_node_id for message in asked], purpose, round_number, current)
        try:
            self.opened = sealed.run()
        finally:
            self._suspect(sealed)
        self.order, self.openings = sealed.order, sealed.openings

        metrics = MetricRecord({WEIGHT: 1.0})
        if self.opened.heldout_loss is not None:
            metrics[HELDOUT_LOSS] = self.opened.heldout_loss
        reply = RecordDict({"metrics": metrics})
        if trained is not None:
            shared = self._layout.shared(self._recipe.lora.aggregation)
            stepped = shared.add(current, trained, self.opened.mean_delta)
            reply[ARRAYS] = ArrayRecord({ADAPTER: Array(stepped)})
        return [Message(reply, reply_to=asked[0])]

    def _begin(
        self, nodes: list[int], purpose: Purpose, round_number: int, current: NDArray[np.float32]
    ) -> SealedRound:
        require_dealable(self._recipe, len(self._roster))
        order = RoundOrder.issue(
            purpose,
            run=self._run_id,
            round_number=round_number,
            attempt=self.attempt,
            recipe=self._recipe,
            roster=self._roster,
            layout_digest=self._layout.digest,
            adapter=current,
            history=history_of(self.receipts),
            clip_range=self.clip_range,
            clip_norm=self.clip_norm,
            groups=self._suspects.groups(self._recipe, len(self._roster)),
        )
        federation = Federation(
            grid=self._grid,
            recipe=self._recipe,
            roster=self._roster,
            layout=self._layout,
            sites={node: self._enrolment.sites[node] for node in nodes},
            held=self._enrolment.receipts,
            receipts=self.receipts,
            rosters=self._rosters,
            server=self._server,
            events=self._events,
            blame=self._blame,
        )
        return SealedRound(federation, order, current)

    def _suspect(self, sealed: SealedRound) -> None:
        """Narrows down who has spoilt a sum, and tells the operator who is left."""
        self._suspects.learn(sealed.sums)
        if not all(group.adds_up for group in sealed.sums):
            number, attempt = sealed.order.round_number, sealed.order.attempt
            self._events.write(SumSpoilt(round=number, attempt=attempt, suspects=self._suspects.names))

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
