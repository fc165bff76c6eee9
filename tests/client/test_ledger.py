"""The privacy ledger: it refuses to overspend, composes exactly, and fails in one sentence."""

from __future__ import annotations

import math
import sqlite3
import threading
from pathlib import Path

import pytest

from sealora_client import ledger_store
from sealora_client.ledger import Charge, Ledger
from sealora_common.entropy import SEED_VARIABLE
from sealora_common.errors import BudgetError, StorageError
from sealora_common.privacy.accounting import Mechanism, epsilon_rdp

DELTA = 1e-5
ROUND = Mechanism(noise_multiplier=1.0, sample_rate=0.05, steps=10)
DATA = "d" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site" / "ledger.sqlite"


def charge(
    ledger: Ledger, round_number: int, *, run: str = "run-1", mechanism: Mechanism = ROUND, limit: float = 8.0
) -> Charge:
    return ledger.charge(
        dataset=DATA, run=run, round_number=round_number, mechanism=mechanism, delta=DELTA, epsilon_limit=limit
    )


def composed(rounds: int) -> float:
    return epsilon_rdp([ROUND] * rounds, DELTA)


def test_a_charge_is_there_after_reopening(path: Path) -> None:
    with Ledger(path) as ledger:
        made = charge(ledger, 1)
    with Ledger(path) as ledger:
        (row,) = ledger.history()
        assert ledger.spent(DATA, DELTA) == made.epsilon_after == pytest.approx(composed(1))
    assert (row.id, row.dataset, row.run, row.round_number, row.mechanism) == (made.id, DATA, "run-1", 1, ROUND)
    assert row.created.endswith("+00:00")
    assert row.released is None
    assert not row.insecure


def test_charges_of_all_runs_and_recipes_compose_exactly(path: Path) -> None:
    other = Mechanism(2.0, 0.1, 30)
    with Ledger(path) as ledger:
        charge(ledger, 1)
        after = charge(ledger, 1, run="run-2", mechanism=other).epsilon_after
        assert after == pytest.approx(epsilon_rdp([ROUND, other], DELTA))
        assert after < epsilon_rdp([ROUND], DELTA) + epsilon_rdp([other], DELTA)


def test_data_sets_are_accounted_for_apart(path: Path) -> None:
    with Ledger(path) as ledger:
        charge(ledger, 1)
        assert ledger.spent("another", DELTA) == 0
        assert ledger.history("another") == []


def test_an_order_that_would_overspend_is_refused_and_not_recorded(path: Path) -> None:
    limit = composed(3)
    with Ledger(path) as ledger:
        for round_number in (1, 2, 3):
            ledger.mark_released(charge(ledger, round_number, limit=limit).id)
        with pytest.raises(BudgetError) as refused:
            charge(ledger, 4, limit=limit)
        assert len(ledger.history()) == 3
    message = str(refused.value)
    for part in (f"{composed(3):.4g} of {limit:.4g}", f"{composed(1):.4g} by itself", f"bring it to {composed(4):.4g}"):
        assert part in message
    assert "0 of its 10 steps" in message


def test_a_refusal_says_how_many_steps_still_fit(path: Path) -> None:
    limit = epsilon_rdp([Mechanism(1.0, 0.05, 14)], DELTA)
    with Ledger(path) as ledger:
        charge(ledger, 1, limit=limit)
        with pytest.raises(BudgetError, match="4 of its 10 steps would"):
            charge(ledger, 2, limit=limit)


def test_rounds_left_are_what_can_then_be_charged(path: Path) -> None:
    limit = composed(5) * 1.001
    with Ledger(path) as ledger:
        charge(ledger, 1, limit=limit)
        assert ledger.rounds_left(DATA, ROUND, DELTA, limit) == 4
        for round_number in range(2, 6):
            charge(ledger, round_number, limit=limit)
        assert ledger.rounds_left(DATA, ROUND, DELTA, limit) == 0


def test_a_run_calibrated_to_its_budget_can_be_trained_to_the_end(path: Path) -> None:
    with Ledger(path) as ledger:
        for round_number in range(1, 21):
            charge(ledger, round_number, limit=composed(20))


def test_an_unreleased_charge_is_given_again(path: Path) -> None:
    with Ledger(path) as ledger:
        first = charge(ledger, 1)
    with Ledger(path) as ledger:
        assert charge(ledger, 1, limit=0.0) == first  # already paid, whatever the limit is now
        assert len(ledger.history()) == 1


def test_a_released_charge_is_not_given_again(path: Path) -> None:
    with Ledger(path) as ledger:
        first = charge(ledger, 1)
        ledger.mark_released(first.id)
        second = charge(ledger, 1)
        assert second.id != first.id
        assert second.epsilon_after == pytest.approx(composed(2))
        assert [row.released is None for row in ledger.history()] == [False, True]


@pytest.mark.parametrize(
    ("run", "round_number", "mechanism"),
    [("run-2", 1, ROUND), ("run-1", 2, ROUND), ("run-1", 1, Mechanism(1.0, 0.05, 11))],
)
def test_another_round_run_or_mechanism_is_charged_anew(
    path: Path, run: str, round_number: int, mechanism: Mechanism
) -> None:
    with Ledger(path) as ledger:
        charge(ledger, 1)
        charge(ledger, round_number, run=run, mechanism=mechanism)
        assert len(ledger.history()) == 2


def test_one_charge_pays_for_one_release(path: Path) -> None:
    with Ledger(path) as ledger:
        made = charge(ledger, 1)
        ledger.mark_released(made.id)
        with pytest.raises(BudgetError, match="released already"):
            ledger.mark_released(made.id)
        with pytest.raises(BudgetError, match="unknown"):
            ledger.mark_released(made.id + 1)


def test_training_without_noise_needs_a_limit_of_infinity(path: Path) -> None:
    bare = Mechanism(0.0, 0.05, 10)
    with Ledger(path) as ledger:
        with pytest.raises(BudgetError, match="bring it to inf"):
            charge(ledger, 1, mechanism=bare)
        assert charge(ledger, 1, mechanism=bare, limit=math.inf).epsilon_after == math.inf


def test_a_charge_under_the_insecure_seed_is_marked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(path) as ledger:
        charge(ledger, 1)
        monkeypatch.setenv(SEED_VARIABLE, "7")
        charge(ledger, 1)  # taken up again, now with predictable noise
        charge(ledger, 2)
        assert [row.insecure for row in ledger.history()] == [True, True]


def test_threads_sharing_a_ledger_do_not_overspend(path: Path) -> None:
    with Ledger(path) as ledger:
        results: list[bool] = []

        def work(number: int) -> None:
            try:
                charge(ledger, number, limit=composed(3))
                results.append(True)
            except BudgetError:
                results.append(False)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [False] * 5 + [True] * 3


def test_only_the_owner_may_read_it(path: Path) -> None:
    with Ledger(path) as ledger:
        charge(ledger, 1)
        for file in path.parent.iterdir():
            assert file.stat().st_mode & 0o077 == 0


def test_commits_reach_the_disk_before_they_return(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all, but long enough to look at" * 40)
    with pytest.raises(StorageError, match="not a ledger"):
        Ledger(path)


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StorageError, match="something else"):
        Ledger(path)
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_schema").fetchall() == [("songs",)]


def test_a_ledger_of_a_newer_version_is_refused(path: Path) -> None:
    Ledger(path).close()
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version=99")
    with pytest.raises(StorageError, match="version 99 where this Sealora reads version 1"):
        Ledger(path)


def test_a_directory_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=str(tmp_path)):
        Ledger(tmp_path)


def test_a_full_disk_refuses_the_charge_in_one_sentence(path: Path) -> None:
    with Ledger(path) as ledger:
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count={pages}")

        def fill() -> None:
            for number in range(1000):
                charge(ledger, number, run="long name " * 100, limit=math.inf)

        with pytest.raises(StorageError, match="the disk is full"):
            fill()
        recorded = ledger.history()
        assert [row.round_number for row in recorded] == list(range(len(recorded)))
        ledger._connection.execute("PRAGMA max_page_count=100000")
        charge(ledger, 1001, limit=math.inf)  # and it works again once there is room


def test_a_writer_that_holds_the_ledger_too_long_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_store, "_BUSY_SECONDS", 0.1)
    with Ledger(path) as ledger, Ledger(path) as other:
        other._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another process has held it"):
            charge(ledger, 1)
        other._connection.execute("ROLLBACK")


def test_a_run_may_not_cost_more_than_its_recipe_promises_however_much_the_policy_allows(tmp_path: Path) -> None:
    mechanism = Mechanism(noise_multiplier=1.0, sample_rate=0.05, steps=10)
    promised = epsilon_rdp([mechanism], 1e-5)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        order = {"dataset": "d", "mechanism": mechanism, "delta": 1e-5, "epsilon_limit": 1000.0}
        charge = ledger.charge(**order, run="a", round_number=1, run_epsilon_limit=promised)
        ledger.mark_released(charge.id)
        with pytest.raises(BudgetError, match="run a has spent"):
            ledger.charge(**order, run="a", round_number=2, run_epsilon_limit=promised)
        ledger.charge(**order, run="b", round_number=1, run_epsilon_limit=promised)
