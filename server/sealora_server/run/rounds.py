"""The rounds of a run, from the sites' first greeting to the final adapter, resumed wherever it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout
from sealora_common.entropy import insecure_seed_in_use
from sealora_common.errors import FederationError
from sealora_common.receipts.receipt import Receipt
from sealora_common.records.events import (
    EvaluationFinished,
    RoundAborted,
    RoundFinished,
    RunFinished,
    RunStarted,
    SitesReady,
    TooFewSites,
    TurnedAway,
    read_events,
)
from sealora_common.roster import Roster, require_succession
from sealora_common.round.clip_norm import next_clip_norm
from sealora_common.round.clip_range import next_range
from sealora_common.round.order import vector_digest
from sealora_common.round.wire_format import ADAPTER
from sealora_server.run.blame import Blame
from sealora_server.run.enrolment import Enrolment
from sealora_server.run.kept_receipts import KeptReceipts
from sealora_server.run.sealed_grid import SealedGrid
from sealora_server.run.store import RoundRecord, RunStore
from sealora_server.run.strategy import build_strategy, restore_strategy, strategy_state

T = TypeVar("T")


def run_rounds(grid: Grid, store: RunStore, roster: Roster) -> None:
    """Runs the store's recipe over `grid` from the first round that is not finished.

    Raises:
        FederationError: a round failed as often as the recipe allows; the run can be resumed.
        StorageError: a result could not be written; the run can be resumed.
    """
    _Run(grid, store, roster).run()


class _Run:
    def __init__(self, grid: Grid, store: RunStore, roster: Roster) -> None:
        self._store = store
        self._recipe = store.recipe
        self._roster = roster
        self._grid = grid
        self._blame = Blame(store.directory, store.events)
        self._enrolment = Enrolment(grid, self._recipe, roster, store.run_id, self._blame.sites)
        self._server = store.server_identity()
        self._receipts = KeptReceipts(0, store.receipt)
        store.rosters.keep(roster)
        self._told_away: tuple[TurnedAway, ...] | None = None

    def run(self) -> None:
        started = time.monotonic()
        done = self._store.finished_rounds
        self._announce(first_round=done + 1)
        self._report_unreported(done)
        layout = self._gather()
        shared = layout.shared(self._recipe.lora.aggregation)
        tensors = self._store.adapter(done, layout)
        current = shared.flatten(tensors)
        strategy = build_strategy(self._recipe)
        restore_strategy(strategy, self._store.optimizer(done))
        sealed = SealedGrid(
            self._grid,
            recipe=self._recipe,
            roster=self._roster,
            layout=layout,
            enrolment=self._enrolment,
            blame=self._blame,
            run_id=self._store.run_id,
            events=self._store.events,
            server=self._server,
            rosters=self._store.rosters,
        )
        sealed.receipts = self._receipts = self._store.mended_receipts()
        if done:
            sealed.clip_range = self._store.record(done).next_clip_range
            sealed.clip_norm = self._store.record(done).next_clip_norm
        for round_number in range(done + 1, self._recipe.rounds + 1):
            current = self._round(round_number, current, strategy, sealed, layout)
        tensors.update(shared.unflatten(current))
        after = self._evaluated()
        if after is None:
            after = self._evaluate(current, strategy, sealed)
        self._store.events.write(
            RunFinished(
                seconds=time.monotonic() - started,
                heldout_loss_before=self._store.record(1).heldout_loss,
                heldout_loss_after=after,
                adapter_sha256=self._store.publish(tensors),
            )
        )

    def _round(
        self,
        round_number: int,
        current: NDArray[np.float32],
        strategy: Strategy,
        sealed: SealedGrid,
        layout: AdapterLayout,
    ) -> NDArray[np.float32]:
        started = time.monotonic()

        def train() -> ArrayRecord | None:
            messages = strategy.configure_train(round_number, _record(current), ConfigRecord(), sealed)
            return strategy.aggregate_train(round_number, sealed.send_and_receive(messages))[0]

        arrays = self._until_it_succeeds(train, round_number, f"round {round_number}", sealed)
        opened, order = sealed.opened, sealed.order
        if arrays is None or opened is None or order is None:
            raise RuntimeError("a strategy returned no arrays for a complete round")
        stepped = np.asarray(arrays[ADAPTER].numpy(), dtype=np.float32)
        tensors = self._store.adapter(0, layout)
        tensors.update(layout.shared(self._recipe.lora.aggregation).unflatten(stepped))
        survivors = tuple(self._roster.names[index] for index in opened.survivors)
        receipt = Receipt.issue(order, sealed.openings, survivors, vector_digest(stepped), self._server)
        record = self._store.finish_round(
            round_number,
            tensors=tensors,
            optimizer=strategy_state(strategy),
            receipt=receipt,
            attempt=sealed.attempt,
            survivors=survivors,
            heldout_loss=opened.heldout_loss,
            clipped_fraction=opened.clipped_fraction,
            next_clip_range=next_range(
                self._recipe, sealed.clip_range, opened.mean_delta * opened.total_weight, opened.clipped_fraction
            ),
            next_clip_norm=next_clip_norm(self._recipe, sealed.clip_norm, opened.unclipped),
            seconds=time.monotonic() - started,
        )
        self._receipts.append(receipt)
        sealed.clip_range = record.next_clip_range
        sealed.clip_norm = record.next_clip_norm
        self._report(record)
        return stepped

    def _evaluated(self) -> float | None:
        """The final adapter's loss, if the run got as far before: another evaluation would cost the sites again."""
        events = [recorded.event for recorded in read_events(self._store.events.path)]
        losses = [event.heldout_loss for event in events if isinstance(event, EvaluationFinished)]
        return losses[-1] if losses else None

    def _evaluate(self, current: NDArray[np.float32], strategy: Strategy, sealed: SealedGrid) -> float:
        number = self._recipe.rounds + 1

        def evaluate() -> None:
            messages = strategy.configure_evaluate(number, _record(current), ConfigRecord(), sealed)
            strategy.aggregate_evaluate(number, sealed.send_and_receive(messages))

        self._until_it_succeeds(evaluate, number, "the final evaluation", sealed)
        if sealed.opened is None or sealed.opened.heldout_loss is None:
            raise RuntimeError("an evaluation ended without a sum")
        survivors = tuple(self._roster.names[index] for index in sealed.opened.survivors)
        self._store.events.write(EvaluationFinished(heldout_loss=sealed.opened.heldout_loss, survivors=survivors))
        return sealed.opened.heldout_loss

    def _until_it_succeeds(self, work: Callable[[], T], number: int, name: str, sealed: SealedGrid) -> T:
        """Does one round's `work`, as often as the recipe allows; `sealed.attempt` says which attempt succeeded.

        An attempt that shows who broke the protocol is not counted: the next one goes on without that site.
        """
        failed = attempt = 0
        while True:
            attempt += 1
            sealed.attempt = attempt
            blamed = self._blame.sites()
            try:
                self._take_new_roster(sealed)
                self._gather()
                return work()
            except FederationError as error:
                self._store.events.write(RoundAborted(round=number, attempt=attempt, reason=str(error)))
                failed += self._blame.sites() == blamed
                if failed == self._recipe.sites.round_attempts:
                    times = "once" if attempt == 1 else f"{attempt} times, last"
                    raise FederationError(
                        f"{name} failed {times} because {error}: mend that, then resume the run"
                    ) from error

    def _gather(self) -> AdapterLayout:
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

    def _take_new_roster(self, sealed: SealedGrid) -> None:
        """From the next round on, the sites are those of the roster that lies in the run's directory now."""
        path = self._store.directory / "roster.json"
        if not path.exists():
            return
        roster = Roster.load(path, coordinator=self._roster.coordinator_pin)
        if roster.hash != self._roster.hash:
            require_succession(roster, self._roster.sequence, self._roster.hash.hex(), f"{path}: ")
            self._roster = roster
            self._store.rosters.keep(roster)
            self._enrolment.take_roster(roster)
            sealed.take_roster(roster)

    def _report(self, record: RoundRecord) -> None:
        self._store.events.write(
            RoundFinished(
                round=record.round_number,
                survivors=record.survivors,
                heldout_loss=record.heldout_loss,
                seconds=record.seconds,
                adapter_sha256=record.adapter_sha256,
            )
        )

    def _report_unreported(self, done: int) -> None:
        """Events of rounds that were stored just before the server was killed."""
        events = (recorded.event for recorded in read_events(self._store.events.path))
        reported = {event.round for event in events if isinstance(event, RoundFinished)}
        for round_number in sorted(set(range(1, done + 1)) - reported):
            self._report(self._store.record(round_number))

    def _announce(self, *, first_round: int) -> None:
        private = self._recipe.privacy.mechanism != "none"
        self._store.events.write(
            RunStarted(
                name=self._recipe.name,
                run_id=self._store.run_id,
                rounds=self._recipe.rounds,
                recipe_hash=self._recipe.hash,
                epsilon=self._recipe.privacy.epsilon if private else None,
                delta=self._recipe.privacy.delta if private else None,
                mechanism=self._recipe.privacy.mechanism,
                first_round=first_round,
                insecure=insecure_seed_in_use(),
            )
        )


def _record(adapter: NDArray[np.float32]) -> ArrayRecord:
    return ArrayRecord({ADAPTER: Array(adapter)})
