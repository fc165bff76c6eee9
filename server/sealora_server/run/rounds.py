"""The rounds of a run, from the sites' first greeting to the final adapter, resumed wherever it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.canonical import canonical_json
from sealora_common.entropy import insecure_seed_in_use
from sealora_common.privacy.heldout_noise import least_noise, noise_of_sum
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.receipts.receipt import Receipt
from sealora_common.records.event_log import read_events
from sealora_common.records.events import EvaluationFinished, RoundFinished, RunFinished, RunStarted, StoppedEarly
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.names import LAYOUT
from sealora_common.roster import Roster
from sealora_common.round.clip_norm import next_clip_norm
from sealora_common.round.clip_range import initial_range, next_range
from sealora_common.round.learning_rate import growth_of_steps
from sealora_common.round.order import vector_digest
from sealora_common.storage.durable import write_atomically
from sealora_server.run.attempts import Attempts, RoundRequest
from sealora_server.run.best_round import ToldFigure, best_figure, stops
from sealora_server.run.sealed_round import SealedSum
from sealora_server.run.server_optimizer import ServerOptimizer
from sealora_server.run.store import RunStore
from sealora_server.run.stored.records import EvaluationRecord, RoundRecord, RunResult


def run_rounds(
    grid: Grid, store: RunStore, roster: Roster, *, after_round: Callable[[], object] = lambda: None
) -> None:
    """Runs the store's recipe over `grid` from the first round that is not finished.

    Args:
        grid: where the sites' nodes are.
        store: the run's.
        roster: among whom.
        after_round: called before the first round and whenever one is stored and told, for what need not be kept.

    Raises:
        FederationError: a round failed as often as the recipe allows; the run can be resumed.
        StorageError: a result could not be written; the run can be resumed.
    """
    _Run(grid, store, roster, after_round).run()


class _Run:
    def __init__(self, grid: Grid, store: RunStore, roster: Roster, after_round: Callable[[], object]) -> None:
        self._store = store
        self._after_round = after_round
        self._recipe = store.recipe
        self._attempts = Attempts(grid, store, roster)
        self._server = store.server_identity()

    def run(self) -> None:
        started = time.monotonic()
        done = self._store.finished_rounds
        self._announce(first_round=done + 1)
        self._report_unreported(done)
        layout = self._attempts.gather()
        shared = adapter_kind(self._recipe).shared(layout)
        tensors = self._store.adapter(done, layout)
        start = shared.flatten(self._store.adapter(0, layout))
        optimizer = ServerOptimizer(self._recipe, self._store.optimizer(done), start)
        receipts = self._store.mended_receipts()
        last = self._store.record(done) if done else None
        request = RoundRequest(
            purpose="train",
            round_number=done + 1,
            adapter=shared.flatten(tensors),
            receipts=receipts,
            clip_range=last.next_clip_range if last else initial_range(self._recipe),
            clip_norm=last.next_clip_norm if last else self._recipe.privacy.clip_norm,
        )
        figures = self._figures(done)
        self._after_round()
        while request.round_number <= self._recipe.rounds and not stops(self._recipe, figures):
            stepped, receipt, record = self._train(request, optimizer, layout)
            receipts.append(receipt)
            self._report(record)
            self._after_round()
            figures += record.told
            request = replace(
                request,
                round_number=record.round_number + 1,
                adapter=stepped,
                clip_range=record.next_clip_range,
                clip_norm=record.next_clip_norm,
            )
        trained = request.round_number - 1
        if trained < self._recipe.rounds:
            self._report_stop(trained, figures)
        # One that is stored is not held again: it would cost the sites again.
        evaluation = self._store.evaluation or self._evaluate(replace(request, purpose="evaluate"), optimizer)
        last_figure = ToldFigure(trained, evaluation.heldout_loss, len(evaluation.survivors))
        write_atomically(self._store.directory / LAYOUT, canonical_json(layout.to_json()))
        keeps_best = self._recipe.server.keep == "best"
        kept = best_figure(self._recipe, [*figures, last_figure]) if keeps_best else last_figure
        result = RunResult(
            adapter_sha256=self._store.publish(self._store.adapter(kept.trained, layout)),
            heldout_loss_before=self._store.record(1).heldout_loss,
            heldout_loss_after=kept.loss,
            kept_round=kept.trained,
        )
        self._store.events.write(
            RunFinished(
                seconds=time.monotonic() - started,
                heldout_loss_before=result.heldout_loss_before,
                heldout_loss_after=result.heldout_loss_after,
                adapter_sha256=result.adapter_sha256,
                kept_round=result.kept_round,
            )
        )
        # Last: a run that is finished is not gone on with, and its log would never tell its end.
        self._store.finish(result)

    def _figures(self, done: int) -> list[ToldFigure]:
        """What the first so many rounds told, in their order; nothing where nobody asks."""
        if not self._recipe.server.compares_rounds:
            return []
        return self._store.told_figures(done)

    def _report_stop(self, trained: int, figures: Sequence[ToldFigure]) -> None:
        best = best_figure(self._recipe, figures)
        self._store.events.write(StoppedEarly(round=trained, best_round=best.trained, best_heldout_loss=best.loss))

    def _train(
        self, request: RoundRequest, optimizer: ServerOptimizer, layout: AdapterLayout
    ) -> tuple[NDArray[np.float32], Receipt, RoundRecord]:
        """Holds a round and stores what comes of it: the next adapter, and what shows who made it."""
        started = time.monotonic()
        number = request.round_number
        sealed = self._open(request, optimizer)
        opened = sealed.opened
        stepped = optimizer.step(number, sealed.adapter, opened.heldout_loss)
        tensors = self._store.adapter(0, layout)
        tensors.update(adapter_kind(self._recipe).shared(layout).unflatten(stepped))
        receipt = Receipt.issue(sealed.order, sealed.openings, sealed.survivors, vector_digest(stepped), self._server)
        record = self._store.finish_round(
            number,
            tensors=tensors,
            optimizer=optimizer.state,
            receipt=receipt,
            attempt=sealed.order.attempt,
            survivors=sealed.survivors,
            heldout_loss=opened.heldout_loss,
            clipped_fraction=opened.clipped_fraction,
            next_clip_range=next_range(
                self._recipe,
                request.clip_range,
                opened.mean_delta * opened.total_weight,
                opened.clipped_fraction,
                growth_of_steps(self._recipe, number),
            ),
            next_clip_norm=next_clip_norm(self._recipe, request.clip_norm, opened.unclipped),
            seconds=time.monotonic() - started,
        )
        return stepped, receipt, record

    def _evaluate(self, request: RoundRequest, optimizer: ServerOptimizer) -> EvaluationRecord:
        sealed = self._open(request, optimizer)
        loss = sealed.opened.heldout_loss
        optimizer.evaluated(request.round_number, loss)
        if loss is None:
            raise RuntimeError("an evaluation ended without a loss")
        record = EvaluationRecord(heldout_loss=loss, survivors=sealed.survivors)
        self._store.finish_evaluation(record)
        self._report_evaluation(record)
        return record

    def _open(self, request: RoundRequest, optimizer: ServerOptimizer) -> SealedSum:
        choose = partial(optimizer.chosen, request.purpose, request.round_number, request.adapter)
        return self._attempts.open(request, choose)

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

    def _report_evaluation(self, record: EvaluationRecord) -> None:
        self._store.events.write(EvaluationFinished(heldout_loss=record.heldout_loss, survivors=record.survivors))

    def _report_unreported(self, done: int) -> None:
        """Events of what was stored just before the server was killed. The log is asked what it lacks, no more."""
        events = [recorded.event for recorded in read_events(self._store.events.path)]
        reported = {event.round for event in events if isinstance(event, RoundFinished)}
        for round_number in sorted(set(range(1, done + 1)) - reported):
            self._report(self._store.record(round_number))
        evaluation = self._store.evaluation
        if evaluation is not None and not any(isinstance(event, EvaluationFinished) for event in events):
            self._report_evaluation(evaluation)

    def _announce(self, *, first_round: int) -> None:
        private = mechanism_of(self._recipe).protects
        figure = HeldoutFigure.of(self._recipe)
        self._store.events.write(
            RunStarted(
                name=self._recipe.name,
                run_id=self._store.run_id,
                rounds=self._recipe.rounds,
                recipe_hash=self._recipe.hash,
                epsilon=self._recipe.privacy.epsilon if private else None,
                delta=self._recipe.privacy.delta if private else None,
                mechanism=self._recipe.privacy.mechanism,
                continue_from=self._recipe.continue_from,
                expected_epochs=self._recipe.expected_epochs,
                first_round=first_round,
                heldout=figure,
                heldout_noise=noise_of_sum(self._recipe) if private else None,
                heldout_noise_least=least_noise(self._recipe) if private else None,
                heldout_clip=figure.range_width(self._recipe) if private and figure.is_loss else None,
                insecure=insecure_seed_in_use(),
            )
        )
