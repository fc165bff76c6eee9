"""A finding on a ledger that is rolled back with its head. It fails while the promise it states is broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_attacks_on_charges import allow, begin_invented
from test_epsilon_per_vector import VICTIM, Watch

from sealora_client.ledger import Ledger

from site_bench import Bench, payload_of
from tiny_federation import PRIVATE


@pytest.fixture
def bench_of(tiny_base: Callable[..., Path], tmp_path: Path) -> Callable[..., Bench]:
    def make(rounds: int = 2, **sections: Any) -> Bench:
        privacy = {**PRIVATE, "mechanism": "local"}
        return Bench(tmp_path / "bench", tiny_base(), records=6, rounds=rounds, privacy=privacy, **sections)

    return make


def test_a_charge_whose_vector_left_is_not_voided_after_ledger_and_head_came_from_one_backup(bench_of, tmp_path):
    """As the ledger's own message advises. What the outbox knows of later entries is not looked at."""
    bench = bench_of(training={"evaluate_every": 2})
    allow(bench, 8.01)
    directory = bench.directory(VICTIM)
    watch = Watch(bench)
    _, requests = bench.play(bench.order(), until="mask")
    backup = tmp_path / "backup"
    backup.mkdir()
    for file in [*directory.glob("ledger.*")]:
        shutil.copy(file, backup / file.name)
    assert watch.ask(VICTIM, "mask", requests[VICTIM]) is not None  # the vector has left
    for file in directory.glob("ledger.*"):
        file.unlink()
    for file in backup.iterdir():
        shutil.copy(file, directory / file.name)
    for number in range(3):
        payload_of(begin_invented(bench, number, 2))
    with Ledger(directory / "ledger.sqlite") as ledger:
        voided = [row for row in ledger.history() if row.voided is not None and row.run == bench.order().run]
    assert voided == [], "a charge is taken back though its vector has left"
