"""A run that its held-out figures end, the adapter that it keeps, and the same after it was killed anywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sealora_common.entropy import SeededEntropy
from sealora_common.errors import StorageError
from sealora_common.export.peft_directory import read_tensors
from sealora_common.identity import Identity
from sealora_common.records.event_log import read_events
from sealora_common.records.events import RoundFinished, RunFinished, StoppedEarly
from sealora_common.records.fold import fold
from sealora_common.records.run_state import RunState
from sealora_server.deployment.runs.progress import progress_text
from sealora_server.run.rounds import run_rounds
from sealora_server.run.store import RunStore
from sealora_server.view.live.plain_lines import plain_line
from sealora_server.view.summary import summarize

from pure_sites import PureGrid, pure_federation, pure_recipe

FALLS_THEN_RISES = (5.0, 4.0, 3.0, 3.5, 3.6, 3.7, 3.8)
"""Held-out loss after 0, 1, ... rounds."""


class ServerKilledError(Exception):
    """The server's process ends."""


class Stopping:
    """A federation of pure sites that measure these losses."""

    def __init__(self, directory, losses=FALLS_THEN_RISES, *, rounds=6, evaluate_every=1, **server):
        self.directory = directory
        recipe = pure_recipe(rounds=rounds, server=server, training={"evaluate_every": evaluate_every})
        coordinator = Identity.create("coordinator", SeededEntropy("coordinator"))
        self.roster, self.sites = pure_federation(recipe, 3, coordinator=coordinator)
        self.losses = losses
        self.orders = []
        self.killed_before = None
        RunStore.create(directory, recipe)

    def run(self):
        store = RunStore.open(self.directory)
        run_rounds(PureGrid(self.sites, change_request=self._measure), store, self.roster)
        return self

    def _measure(self, site, action, content):
        if action not in {"train", "evaluate"}:
            return
        number = json.loads(content["config"]["order"])["round_number"]
        if (action, number) == self.killed_before:
            self.killed_before = None
            raise ServerKilledError
        if site == "site-0":
            self.orders.append((action, number))
        for each in self.sites.values():
            each.heldout_loss = self.losses[number - 1]

    def events(self, *kinds):
        recorded = [entry.event for entry in read_events(self.directory / "events.jsonl")]
        return [event for event in recorded if isinstance(event, kinds)]

    @property
    def state(self):
        return fold(RunState(), read_events(self.directory / "events.jsonl"))

    def final_is_that_of(self, number):
        final = read_tensors(self.directory / "adapter")
        of_round = read_tensors(self.directory / "rounds" / f"{number:04d}" / "adapter")
        return all(np.array_equal(final[name], of_round[name]) for name in final)


def test_it_ends_when_its_patience_is_over_and_keeps_the_best(tmp_path):
    run = Stopping(tmp_path, early_stopping={"patience": 2}, keep="best").run()
    # Round 5 tells that the adapter of round 4 is no better than that of round 3, which was no better than round 2's.
    assert run.orders == [*(("train", number) for number in range(1, 6)), ("evaluate", 6)]
    (stopped,) = run.events(StoppedEarly)
    assert (stopped.round, stopped.best_round) == (5, 2)
    (finished,) = run.events(RunFinished)
    assert finished.kept_round == 2
    assert finished.heldout_loss_before == pytest.approx(5.0, abs=1e-6)
    assert finished.heldout_loss_after == pytest.approx(3.0, abs=1e-6)
    assert run.final_is_that_of(2)
    assert not run.final_is_that_of(5)
    # Whoever has the receipts can tell which round it is: the receipt of that round names the adapter.
    assert finished.adapter_sha256 == run.events(RoundFinished)[1].adapter_sha256


def test_everybody_who_looks_is_told_which_round_was_kept(tmp_path):
    run = Stopping(tmp_path, early_stopping={"patience": 2}, keep="best").run()
    state, summary = run.state, summarize(tmp_path)
    assert progress_text(state) == "stopped early after 5 of 6 rounds; kept is round 2's adapter"
    assert (summary.rounds, summary.rounds_finished, summary.kept_round) == (6, 5, 2)
    assert summary.stopped_early
    assert summary.heldout_loss_after == pytest.approx(3.0, abs=1e-6)
    assert summary.adapter_sha256 == run.events(RunFinished)[0].adapter_sha256
    lines = [plain_line(event, state, {}) for event in run.events(StoppedEarly, RunFinished)]
    assert lines[0] == "no more rounds after 5: no improvement on the held-out loss 3.000 after 2"
    assert "kept the adapter of round 2" in lines[1]


def test_the_last_adapter_is_kept_unless_the_best_is_asked_for(tmp_path):
    run = Stopping(tmp_path, early_stopping={"patience": 1}).run()
    assert run.events(StoppedEarly)[0].round == 4
    assert run.events(RunFinished)[0].kept_round == 4
    assert run.final_is_that_of(4)
    assert progress_text(run.state) == "stopped early after 4 of 6 rounds"


def test_the_best_of_all_rounds_is_kept_without_stopping(tmp_path):
    run = Stopping(tmp_path, keep="best").run()
    assert not run.events(StoppedEarly)
    assert run.orders[-1] == ("evaluate", 7)
    assert run.events(RunFinished)[0].kept_round == 2
    assert run.final_is_that_of(2)
    assert progress_text(run.state) == "all 6 rounds are finished; kept is round 2's adapter"


def test_the_final_evaluation_counts_too(tmp_path):
    run = Stopping(tmp_path, (5.0, 4.0, 4.5, 1.0), rounds=3, keep="best").run()
    assert run.events(RunFinished)[0].kept_round == 3


def test_where_nothing_was_an_improvement_the_adapter_that_it_began_with_is_kept(tmp_path):
    run = Stopping(tmp_path, (3.0, 4.0, 5.0, 6.0, 7.0), early_stopping={"patience": 2}, keep="best").run()
    assert run.events(RunFinished)[0].kept_round == 0
    assert run.events(RunFinished)[0].heldout_loss_after == pytest.approx(3.0, abs=1e-6)
    final = read_tensors(tmp_path / "adapter")
    assert not any(final[name].any() for name in final if name.endswith("lora_B.weight"))


def test_patience_counts_figures_where_not_every_round_tells_one(tmp_path):
    run = Stopping(tmp_path, evaluate_every=2, early_stopping={"patience": 1}, keep="best").run()
    # Figures after 0, 2 and 4 rounds; that after 4, told in round 5, is worse.
    assert run.events(StoppedEarly)[0].round == 5
    assert run.events(RunFinished)[0].kept_round == 2


@pytest.mark.parametrize("killed_before", [("train", 1), ("train", 3), ("train", 5), ("evaluate", 6)])
def test_a_run_that_is_killed_anywhere_decides_as_one_that_was_not(tmp_path, killed_before):
    whole = Stopping(tmp_path / "whole", early_stopping={"patience": 2}, keep="best").run()
    other = Stopping(tmp_path / "other", early_stopping={"patience": 2}, keep="best")
    other.killed_before = killed_before
    with pytest.raises(ServerKilledError):
        other.run()
    other.run()
    assert other.orders == whole.orders
    assert other.final_is_that_of(2)
    assert other.events(RunFinished)[0].kept_round == 2
    assert other.state.rounds == whole.state.rounds == 5
    assert other.state.stopped_early is not None


def test_a_run_that_keeps_the_last_reads_no_figure_again(tmp_path):
    """A damaged record of a round long past stops no run that does not ask it anything."""
    for name, server in (("last", {}), ("best", {"keep": "best"})):
        run = Stopping(tmp_path / name, **server)
        run.killed_before = ("train", 4)
        with pytest.raises(ServerKilledError):
            run.run()
        (run.directory / "rounds" / "0002" / "round.json").write_text("{")
        if name == "last":
            run.run()
        else:
            with pytest.raises(StorageError, match="cannot be read"):
                run.run()
