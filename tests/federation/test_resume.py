"""A run that stops at any instant goes on where it was: no round twice, every charge right."""

from __future__ import annotations

import numpy as np
import pytest

from quick_cases import quick_cases
from sealora_common.errors import FederationError, StorageError, storage_error
from sealora_server.run import store as run_store
from sealora_server.run.store import RunStore

from tiny_federation import (
    PRIVATE,
    WatchedGrid,
    adapter_bytes,
    adapter_of,
    events_of,
    history_of,
    run_inline,
    training_charges,
    write_federation,
)

SITES = ("site-0", "site-1", "site-2")


def stopping_grid(action: str, *, at_round: int, after: int = 0) -> type[WatchedGrid]:
    """A grid in which a person presses Ctrl-C when the site number `after` is asked for `action` in a round."""

    class Stopping(WatchedGrid):
        asked = 0

        def exchange(self, site, asked, message):
            if asked == action and self.round == at_round:
                self.asked += 1
                if self.asked > after:
                    raise KeyboardInterrupt
            return super().exchange(site, asked, message)

    return Stopping


@pytest.fixture
def federation(tiny_base, tmp_path):
    def make(**sections):
        recipe = write_federation(tmp_path, tiny_base(), **({"rounds": 3, "privacy": PRIVATE} | sections))
        return recipe, tmp_path / "run"

    return make


@pytest.fixture
def seeded(monkeypatch):
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "resume")


POINTS = {
    "before any answer": ("query.hello", 0, 1),
    "in the first training": ("train", 1, 1),
    "between two rounds": ("train", 2, 0),
    "while round two trains": ("train", 2, 2),
    "while round two shares keys": ("query.share", 2, 1),
    "while the result is evaluated": ("query.share", 4, 1),
}


@pytest.mark.filterwarnings("ignore:SEALORA_INSECURE_SEED")
@pytest.mark.parametrize("optimizer", quick_cases(["fedavg", "fedavgm", "fedadam"], "fedadam"))
def test_an_interrupted_run_ends_like_an_uninterrupted_one_bit_for_bit(federation, seeded, tmp_path, optimizer):
    section = {"optimizer": optimizer, "learning_rate": 0.5 if optimizer == "fedavgm" else 1.0}
    recipe, run = federation(server=section)
    whole = run_inline(recipe, tmp_path / "whole")
    for action, at_round in (("query.share", 2), ("train", 3)):
        grid = stopping_grid(action, at_round=at_round, after=1)
        with pytest.raises(KeyboardInterrupt):
            run_inline(recipe, run, grid=grid, resume=run.exists())
    run_inline(recipe, run, resume=True)
    for round_number in range(1, 4):
        for name, value in adapter_of(whole, round_number).items():
            np.testing.assert_array_equal(value, adapter_of(run, round_number)[name])
    assert adapter_bytes(run) == adapter_bytes(whole)


@pytest.mark.parametrize("point", quick_cases(POINTS, "before any answer", "while round two trains"))
def test_a_run_stopped_anywhere_before_vectors_are_sent_resumes_and_charges_no_round_twice(federation, point):
    action, at_round, after = POINTS[point]
    recipe, run = federation()
    with pytest.raises(KeyboardInterrupt):
        run_inline(recipe, run, grid=stopping_grid(action, at_round=0 if "hello" in action else at_round, after=after))
    finished = RunStore.open(run).finished_rounds
    assert finished == max(0, at_round - 1)
    before = {number: adapter_of(run, number) for number in range(1, finished + 1)}
    run_inline(recipe, run, resume=True)

    assert [event.round for event in events_of(run, "round_finished")] == [1, 2, 3]
    assert [event.first_round for event in events_of(run, "run_started")] == [1, finished + 1]
    assert len(events_of(run, "run_finished")) == 1
    for number, adapter in before.items():
        for name, value in adapter_of(run, number).items():
            np.testing.assert_array_equal(value, adapter[name])
    for site in SITES:
        rows = training_charges(run, site)
        assert [row.round_number for row in rows] == [1, 2, 3]
        assert all(row.released for row in rows)
        assert [line["round"] for line in history_of(run, site) if line["kind"] == "train"] == [1, 2, 3]
    assert adapter_of(run).keys() == adapter_of(run, 3).keys()
    for name, value in adapter_of(run).items():
        np.testing.assert_array_equal(value, adapter_of(run, 3)[name])


@pytest.mark.parametrize(
    ("action", "after"),
    quick_cases([("query.mask", 1), ("query.confirm", 0), ("query.open", 2)], ("query.confirm", 0)),
)
def test_a_round_whose_vectors_were_sent_is_resumed_at_no_charge(federation, action, after):
    recipe, run = federation(sites={"round_attempts": 1})
    with pytest.raises(KeyboardInterrupt):
        run_inline(recipe, run, grid=stopping_grid(action, at_round=3, after=after))
    run_inline(recipe, run, resume=True)
    assert [event.round for event in events_of(run, "round_finished")] == [1, 2, 3]
    for site in SITES:
        assert [(row.round_number, bool(row.released)) for row in training_charges(run, site)] == [
            (1, True),
            (2, True),
            (3, True),
        ]
        assert history_of(run, site)[-1]["epsilon"] <= PRIVATE["epsilon"] + 1e-6


@pytest.mark.slow
def test_without_a_mechanism_a_round_whose_vectors_were_sent_cannot_be_resumed(federation):
    recipe, run = federation(privacy={"mechanism": "none"}, sites={"round_attempts": 1})
    with pytest.raises(KeyboardInterrupt):
        run_inline(recipe, run, grid=stopping_grid("query.confirm", at_round=2))
    with pytest.raises(FederationError, match="sends no second one: start a new run"):
        run_inline(recipe, run, resume=True)


@pytest.mark.slow
def test_a_server_killed_between_storing_a_round_and_saying_so_does_not_repeat_it(federation, monkeypatch):
    recipe, run = federation()
    finish = RunStore.finish_round

    def killed_afterwards(self, round_number, **rest):
        record = finish(self, round_number, **rest)
        if round_number == 2:
            raise KeyboardInterrupt
        return record

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "finish_round", killed_afterwards)
        with pytest.raises(KeyboardInterrupt):
            run_inline(recipe, run)
    assert [event.round for event in events_of(run, "round_finished")] == [1]
    run_inline(recipe, run, resume=True)
    assert [event.round for event in events_of(run, "round_finished")] == [1, 2, 3]
    assert [row.round_number for row in training_charges(run, "site-0")] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json", "optimizer", "round.json"])
def test_a_server_killed_while_it_stores_a_round_stores_it_again(federation, monkeypatch, file):
    recipe, run = federation(rounds=2, server={"optimizer": "fedavgm"})
    write = run_store.write_atomically

    def killed(path, content, **rest):
        if file in path.name and path.parent.name != "run" and "0002" in str(path):
            raise KeyboardInterrupt
        write(path, content, **rest)

    with monkeypatch.context() as patch:
        patch.setattr("sealora_server.run.store.write_atomically", killed)
        patch.setattr("sealora_common.export.peft_directory.write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            run_inline(recipe, run)
    assert RunStore.open(run).finished_rounds == 1
    run_inline(recipe, run, resume=True)
    assert [event.round for event in events_of(run, "round_finished")] == [1, 2]
    assert sorted(path.name for path in (run / "rounds").iterdir()) == ["0001", "0002"]


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run_in_one_sentence_and_the_round_can_be_resumed(federation, monkeypatch):
    recipe, run = federation(rounds=2)

    def full(path, content, **rest):
        raise storage_error(path, OSError(28, "No space left on device"))

    with monkeypatch.context() as patch:
        patch.setattr("sealora_common.export.peft_directory.write_atomically", full)
        with pytest.raises(StorageError, match="the disk is full: free some space, then run the same command again"):
            run_inline(recipe, run)
    run_inline(recipe, run, resume=True)
    assert [event.round for event in events_of(run, "round_finished")] == [1, 2]


@pytest.mark.slow
def test_resuming_a_finished_run_trains_nothing_and_keeps_the_adapter(federation):
    recipe, run = federation()
    run_inline(recipe, run)
    adapter = adapter_bytes(run)
    run_inline(recipe, run, resume=True)
    assert adapter_bytes(run) == adapter
    assert [event.round for event in events_of(run, "round_finished")] == [1, 2, 3]
    assert [row.round_number for row in training_charges(run, "site-0")] == [1, 2, 3]


@pytest.mark.slow
def test_a_site_s_identity_and_the_run_s_roster_survive_a_resume(federation):
    recipe, run = federation()
    with pytest.raises(KeyboardInterrupt):
        run_inline(recipe, run, grid=stopping_grid("train", at_round=2))
    roster = (run / "roster.json").read_bytes()
    key = (run / "sites" / "site-1" / "identity.pem").read_bytes()
    run_inline(recipe, run, resume=True)
    assert (run / "roster.json").read_bytes() == roster
    assert (run / "sites" / "site-1" / "identity.pem").read_bytes() == key
