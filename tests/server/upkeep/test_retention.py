"""Which rounds' adapters are kept: measured on runs of some rounds, and cut short where it hurts most."""

from __future__ import annotations

import os
import shutil

import pytest

from sealora_common.errors import ModelError
from sealora_common.receipts.check import check_chain
from sealora_server.run.best_round import best_figure
from sealora_server.run.rounds import run_rounds
from sealora_server.run.store import RunStore
from sealora_server.upkeep import retention as retention_module
from sealora_server.upkeep.retention import AdapterRetention, adapters_held, prune

from pure_sites import LAYOUT, PureGrid, pure_federation, pure_recipe

ROUNDS = 6
LAST_TWO = AdapterRetention(keep_last=2, keep_best=False)


class Run:
    """A run of pure sites whose held-out losses are those of a list, round by round."""

    def __init__(self, directory, retention, losses=(), **recipe):
        recipe.setdefault("server", {"optimizer": "fedadam"})
        self.recipe = pure_recipe(rounds=ROUNDS, **recipe)
        self.losses = losses
        self.store = RunStore.create(directory, self.recipe)
        server = self.store.server_identity()
        self.roster, self.sites = pure_federation(self.recipe, 3, server=server)
        self.retention = retention
        self.deleted: list[int] = []
        self.stop_after = -1

    def go(self):
        grid = PureGrid(self.sites)
        run_rounds(grid, self.store, self.roster, after_round=self._prune)

    def kept(self, name="adapter"):
        return kept(self.store, name)

    def bytes(self):
        return sum(path.stat().st_size for path in (self.store.directory / "rounds").rglob("*") if path.is_file())

    def _prune(self):
        self.deleted += prune(self.store, self.retention)
        done = self.store.finished_rounds
        for site in self.sites.values():
            site.heldout_loss = self.losses[done] if done < len(self.losses) else 2.0
        if done == self.stop_after:
            raise KeyboardInterrupt


def until(run, rounds):
    """Goes on with the run and cuts it short once so many rounds are stored."""
    run.stop_after = rounds
    with pytest.raises(KeyboardInterrupt):
        run.go()


def test_a_run_keeps_the_last_adapters_and_the_final_one_and_every_receipt(whole, tmp_path):
    every, few = whole, Run(tmp_path, LAST_TWO)
    few.go()
    assert every.kept() == list(range(1, ROUNDS + 1))
    assert few.kept() == few.kept("optimizer.safetensors") == [5, 6]
    assert few.deleted == [1, 2, 3, 4]
    sizes = {name: _bytes(every.store.round_directory(1) / name) for name in ("adapter", "optimizer.safetensors")}
    assert every.bytes() - few.bytes() == pytest.approx(4 * sum(sizes.values()), rel=0.02)
    for name in ("round.json", "receipt.json"):
        assert few.kept(name) == list(range(1, ROUNDS + 1))
    receipts = few.store.receipts()
    assert len(receipts) == ROUNDS
    check_chain(receipts, {few.roster.hash.hex(): few.roster}, run=few.store.run_id, recipe=few.recipe)
    final = (few.store.directory / "adapter" / "adapter_model.safetensors").read_bytes()
    assert final == (few.store.round_directory(6) / "adapter" / "adapter_model.safetensors").read_bytes()
    with pytest.raises(ModelError, match=r"0003/adapter: is not kept any more, see `adapters` in server.yaml"):
        few.store.adapter(3, LAYOUT)


def test_the_best_round_s_adapter_is_kept_until_a_better_one_comes_and_is_what_the_run_publishes(tmp_path):
    losses = [2.0, 1.5, 0.5, 1.9, 1.9, 1.9, 1.9]  # told of the adapters after 0, 1, 2, ... rounds
    run = Run(tmp_path, LAST_TWO, losses, server={"keep": "best"})
    until(run, 4)
    assert best_figure(run.recipe, run.store.told_figures(4)).trained == 2
    assert run.kept() == [2, 3, 4]
    run.stop_after = -1
    run.go()
    assert run.kept() == [2, 5, 6]
    final = (run.store.directory / "adapter" / "adapter_model.safetensors").read_bytes()
    assert final == (run.store.round_directory(2) / "adapter" / "adapter_model.safetensors").read_bytes()


def test_some_along_the_way_are_kept_where_that_is_asked_for(tmp_path):
    run = Run(tmp_path, AdapterRetention(keep_last=1, keep_best=False, keep_every=3))
    run.go()
    assert run.kept() == [1, 4, 6]


def test_a_run_goes_on_after_a_restart_from_the_little_that_was_kept_and_sites_that_lack_receipts_catch_up(tmp_path):
    run = Run(tmp_path, AdapterRetention(keep_last=1, keep_best=False))
    until(run, 3)
    assert run.kept() == run.kept("optimizer.safetensors") == [3]
    run.store = RunStore.open(tmp_path)  # as a server does that was started again
    late = run.sites[12]
    late.receipts, late.told = 0, []
    run.stop_after = -1
    run.go()
    assert late.told[0] == 3
    assert (run.store.finished_rounds, run.store.is_finished) == (ROUNDS, True)
    assert run.kept() == [6]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run that has kept all."""
    run = Run(tmp_path_factory.mktemp("whole"), AdapterRetention(keep_last=None))
    run.go()
    return run


@pytest.fixture
def copy(whole, tmp_path):
    """The store of a copy of it."""
    shutil.copytree(whole.store.directory, tmp_path, dirs_exist_ok=True)
    return RunStore.open(tmp_path)


@pytest.mark.parametrize("broken", ["rename_durably", "_remove"])
def test_a_kill_in_the_middle_leaves_each_adapter_whole_or_gone_and_the_rest_is_deleted_next_time(
    copy, monkeypatch, broken
):
    calls = iter(range(100))
    real = getattr(retention_module, broken)

    def dies(*arguments):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(retention_module, broken, dies)
    with pytest.raises(KeyboardInterrupt):
        prune(copy, LAST_TWO)
    assert 2 < len(kept(copy)) < ROUNDS
    for number in kept(copy):
        assert copy.adapter(number, LAYOUT)
    monkeypatch.undo()
    prune(copy, LAST_TWO)
    assert kept(copy) == [5, 6]
    assert list((copy.directory / "rounds").rglob(".*")) == []


def test_what_cannot_be_deleted_is_told_and_stops_no_run(tmp_path, monkeypatch, caplog):
    run = Run(tmp_path, LAST_TWO)

    def refuses(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(retention_module, "_remove", refuses)
    run.go()
    assert run.store.is_finished
    assert "old rounds' adapters could not be deleted" in caplog.text


def test_nothing_is_deleted_while_somebody_copies_the_run(copy):
    with adapters_held(copy.directory):
        assert prune(copy, LAST_TWO) == []
    assert prune(copy, LAST_TWO) == [1, 2, 3, 4]


def kept(store, name="adapter"):
    return [number for number in range(1, ROUNDS + 1) if (store.round_directory(number) / name).exists()]


def _bytes(path):
    return os.stat(path).st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())
