"""The privacy ledger: it refuses to overspend, composes exactly, and fails in one sentence."""

from __future__ import annotations

import itertools
import math
import sqlite3
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sealora_client.ledger import Charge, ChargeRow, Ledger, PaidRelease, journal, store
from sealora_client.ledger.head import Head, read_head
from sealora_client.ledger.overspend import repeats_that_fit
from sealora_common.entropy import SEED_VARIABLE
from sealora_common.errors import AlreadyReleasedError, BudgetError, StorageError
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld

from ledger_runs import DATA, DELTA, ROUND, SITE, bodies, charge, composed, persons, records, spend, write_ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site" / "ledger.sqlite"


def states(ledger: Ledger) -> list[str]:
    def state(row: ChargeRow) -> str:
        return "open" if row.is_open else "released" if row.released else "settled"

    return [state(row) for row in ledger.charges()]


def test_a_charge_is_there_after_reopening(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        made = charge(ledger, 1)
    with Ledger(path, SITE) as ledger:
        (row,) = ledger.charges()
        assert ledger.spent(DATA, DELTA) == made.epsilon_after == pytest.approx(composed(1))
    assert (row.id, row.dataset, row.run, row.round_number) == (made.id, DATA.fingerprint, "run-1", 1)
    assert (row.event, row.delta, row.epsilon_limit) == (ROUND, DELTA, 8.0)
    assert row.created.endswith("+00:00")
    assert row.is_open
    assert not row.insecure


@pytest.mark.parametrize("event", [PrivacyEvent(1.25, 1.0, 1), PrivacyEvent(0.7, 1 / 3, 1, "skellam", 4096)])
def test_every_field_of_the_mechanism_is_kept(path: Path, event: PrivacyEvent) -> None:
    with Ledger(path, SITE) as ledger:
        charge(ledger, 1, event=event, limit=math.inf)
    with Ledger(path, SITE) as ledger:
        assert [row.event for row in ledger.charges()] == [event]


def test_charges_of_all_runs_and_recipes_compose_exactly(path: Path) -> None:
    other = PrivacyEvent(2.0, 0.1, 30)
    with Ledger(path, SITE) as ledger:
        charge(ledger, 1)
        after = charge(ledger, 1, run="run-2", event=other).epsilon_after
        assert after == pytest.approx(epsilon_pld([ROUND, other], DELTA))
        assert after < epsilon_pld([ROUND], DELTA) + epsilon_pld([other], DELTA)


def test_an_order_that_would_overspend_is_refused_and_not_recorded(path: Path) -> None:
    limit = composed(3)
    with Ledger(path, SITE) as ledger:
        for round_number in (1, 2, 3):
            ledger.mark_released(charge(ledger, round_number, limit=limit).id)
        before = bodies(path)
        with pytest.raises(BudgetError) as refused:
            charge(ledger, 4, limit=limit)
        assert bodies(path) == before
    message = str(refused.value)
    for part in (f"{composed(3):.4g} of {limit:.4g}", f"{composed(1):.4g} by itself", f"bring it to {composed(4):.4g}"):
        assert part in message
    assert "0 of its 10 steps" in message


def test_a_limit_is_passed_by_a_rounding_at_most(path: Path) -> None:
    """Of the data set and of the run: what fits to the last digit fits, and a millionth more does not."""
    enough, too_little = composed(2), composed(2) * (1 - 1e-6)
    with Ledger(path, SITE) as ledger:

        def second_round(epsilon_limit: float, run_epsilon_limit: float) -> None:
            ledger.charge(
                dataset=DATA,
                run="run-1",
                round_number=2,
                event=ROUND,
                delta=DELTA,
                epsilon_limit=epsilon_limit,
                run_epsilon_limit=run_epsilon_limit,
            )

        spend(ledger, 1, limit=enough)
        for limits in ((too_little, math.inf), (enough, too_little)):
            with pytest.raises(BudgetError):
                second_round(*limits)
        assert ledger.rounds_left(DATA, ROUND, DELTA, too_little) == 0
        assert ledger.rounds_left(DATA, ROUND, DELTA, enough) == 1
        second_round(enough, enough)


@pytest.mark.parametrize("most", range(1, 9))
def test_no_more_repeats_are_counted_than_are_asked_for(most: int) -> None:
    assert repeats_that_fit([], ROUND, DELTA, 1000.0, most=most) == most


def test_a_refusal_says_how_many_steps_still_fit(path: Path) -> None:
    limit = epsilon_pld([PrivacyEvent(1.0, 0.05, 14)], DELTA)
    with Ledger(path, SITE) as ledger:
        spend(ledger, 1, limit=limit)
        with pytest.raises(BudgetError, match="4 of its 10 steps would"):
            charge(ledger, 2, limit=limit)


def test_rounds_left_are_what_can_then_be_charged(path: Path) -> None:
    limit = composed(5) * 1.001
    with Ledger(path, SITE) as ledger:
        assert ledger.rounds_left(DATA, ROUND, DELTA, limit) == 5
        charge(ledger, 1, limit=limit)
        assert ledger.rounds_left(DATA, ROUND, DELTA, limit) == 4
        for round_number in range(2, 6):
            charge(ledger, round_number, limit=limit)
        assert ledger.rounds_left(DATA, ROUND, DELTA, limit) == 0
        assert ledger.rounds_left(DATA.fingerprint, ROUND, DELTA, limit) == 0


def test_a_run_calibrated_to_its_budget_can_be_trained_to_the_end(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        for round_number in range(1, 21):
            charge(ledger, round_number, limit=composed(20))


def test_a_run_may_not_cost_more_than_its_recipe_promises_however_much_the_policy_allows(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        order = {"dataset": DATA, "event": ROUND, "delta": DELTA, "epsilon_limit": 1000.0}
        first = ledger.charge(**order, run="a", round_number=1, run_epsilon_limit=composed(1))
        ledger.mark_released(first.id)
        with pytest.raises(BudgetError, match="run a has spent"):
            ledger.charge(**order, run="a", round_number=2, run_epsilon_limit=composed(1))
        ledger.charge(**order, run="b", round_number=1, run_epsilon_limit=composed(1))


def test_a_data_set_that_was_never_charged_is_no_fingerprint_to_ask_for(path: Path) -> None:
    with Ledger(path, SITE) as ledger, pytest.raises(BudgetError, match="no data set feedfeedfeed was charged"):
        ledger.spent("feed" * 16, DELTA)


def test_nothing_cannot_be_charged(path: Path) -> None:
    with Ledger(path, SITE) as ledger, pytest.raises(BudgetError, match="has no records"):
        charge(ledger, 1, dataset=records())


# A charge is open, then released or settled


def test_an_open_charge_is_given_again_and_that_is_noted(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        first = charge(ledger, 1)
    with Ledger(path, SITE) as ledger:
        assert charge(ledger, 1, limit=0.0) == first  # already paid, whatever the limit is now
        (row,) = ledger.charges()
    assert (row.id, row.repeats, row.is_open) == (first.id, 1, True)
    assert [body["kind"] for body in bodies(path)] == ["begin", "dataset", "charge", "repeat"]


def test_a_released_charge_is_not_given_again(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        first = charge(ledger, 1)
        ledger.mark_released(first.id)
        second = charge(ledger, 1)
        assert second.id != first.id
        assert second.epsilon_after == pytest.approx(composed(2))
        assert states(ledger) == ["released", "open"]


def test_a_settled_charge_stays_spent_is_not_given_again_and_releases_nothing(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        first = charge(ledger, 1)
        ledger.settle(first.id)
        assert ledger.spent(DATA, DELTA) == pytest.approx(composed(1))
        with pytest.raises(BudgetError, match=f"charge {first.id} of .* is settled"):
            ledger.mark_released(first.id)
        assert charge(ledger, 1).epsilon_after == pytest.approx(composed(2))
        assert states(ledger) == ["settled", "open"]


def test_only_an_open_charge_can_be_settled(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        made = charge(ledger, 1)
        ledger.mark_released(made.id)
        for wrong in (made.id, made.id + 1):
            with pytest.raises(BudgetError, match="is not open"):
                ledger.settle(wrong)


def test_one_charge_pays_for_one_release(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        made = charge(ledger, 1)
        ledger.mark_released(made.id)
        with pytest.raises(BudgetError, match="released already"):
            ledger.mark_released(made.id)
        with pytest.raises(BudgetError, match="unknown"):
            ledger.mark_released(made.id + 2)


CONTENT, ANOTHER = "ab" * 32, "cd" * 32


def can_release(ledger: Ledger, made: Charge, content: str = CONTENT) -> bool:
    return ledger.can_release(PaidRelease(charge=made.reference, content=content))


def test_of_several_releases_all_are_recorded_or_none(path: Path) -> None:
    """Whichever of them may not leave: the others' charges stay as they were."""
    for bad in range(3):
        with Ledger(path.with_name(f"{bad}.sqlite"), SITE) as ledger:
            made = [charge(ledger, number, limit=math.inf) for number in (1, 2, 3)]
            ledger.settle(made[bad].id)
            with pytest.raises(BudgetError, match="is settled"):
                ledger.release([PaidRelease(charge=each.reference, content=CONTENT) for each in made])
            assert [row.released for row in ledger.charges()] == [None] * 3


def test_a_charge_of_another_ledger_pays_for_nothing_here(path: Path) -> None:
    with Ledger(path.with_name("other.sqlite"), SITE) as other, Ledger(path, SITE) as ledger:
        strange, own = charge(other, 1, run="another"), charge(ledger, 1)
        assert strange.id == own.id
        assert not can_release(ledger, strange)
        with pytest.raises(BudgetError, match="is not the one of this privacy ledger"):
            ledger.release([PaidRelease(charge=strange.reference, content=CONTENT)])
        assert can_release(ledger, own)


def test_what_leaves_once_is_not_charged_for_again(path: Path) -> None:
    order = {"dataset": DATA, "event": ROUND, "delta": DELTA, "epsilon_limit": 1000.0, "run": "a", "once": True}
    with Ledger(path, SITE) as ledger:
        ledger.mark_released(ledger.charge(round_number=1, **order).id, CONTENT)
        for event in (ROUND, replace(ROUND, noise_multiplier=5.0)):
            with pytest.raises(AlreadyReleasedError, match="released round 1 already"):
                ledger.charge(round_number=1, **order | {"event": event})
        ledger.charge(round_number=2, **order)
        ledger.charge(round_number=1, **order | {"run": "b"})
        ledger.charge(round_number=1, **order | {"once": False})


def test_many_open_charges_are_voided_at_once(path: Path) -> None:
    small = PrivacyEvent(50.0, 0.05, 1)
    with Ledger(path, SITE) as ledger:
        for number in range(60):
            charge(ledger, number, event=small, run=f"run-{number}", limit=composed(1) * 1.0001)
        charge(ledger, 1, limit=composed(1) * 1.0001)
        rows = ledger.charges()
        voided = [row.id for row in rows if row.voided is not None]
        assert voided == [row.id for row in rows][: len(voided)]
        assert ledger.spent(DATA, DELTA) <= composed(1) * 1.0001 + 1e-9
        ledger.verify()


def test_the_same_result_may_leave_again_and_no_other(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        made = charge(ledger, 1)
        assert can_release(ledger, made)
        ledger.mark_released(made.id, CONTENT)
    with Ledger(path, SITE) as ledger:
        before = bodies(path)
        ledger.mark_released(made.id, CONTENT)
        assert bodies(path) == before  # a server that asks for ever fills no disk
        assert can_release(ledger, made)
        for other in (ANOTHER, ""):
            assert not can_release(ledger, made, other)
            with pytest.raises(BudgetError, match="released already"):
                ledger.mark_released(made.id, other)
        assert ledger.spent(DATA, DELTA) == pytest.approx(composed(1))
        ledger.verify()


def test_what_was_released_without_a_digest_never_leaves_again(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        made = spend(ledger, 1)
        for content in (CONTENT, ""):
            assert not can_release(ledger, made, content)
            with pytest.raises(BudgetError, match="released already"):
                ledger.mark_released(made.id, content)


def test_rounds_that_were_ordered_and_never_collected_cost_nothing(path: Path) -> None:
    """A server invents run after run: each is charged, none leaves, and the budget is still there for a real one."""
    limit = composed(2)
    with Ledger(path, SITE) as ledger:
        spend(ledger, 1, limit=limit)
        invented = [charge(ledger, 1, run=f"invented-{number}", limit=limit) for number in range(20)]
        real = charge(ledger, 2, limit=limit)
        assert ledger.spent(DATA, DELTA) == real.epsilon_after == pytest.approx(composed(2))
        for made in invented:
            assert not can_release(ledger, made)
            with pytest.raises(BudgetError, match="was voided"):
                ledger.mark_released(made.id, CONTENT)
        ledger.mark_released(real.id, CONTENT)
        with pytest.raises(BudgetError, match="has spent"):
            charge(ledger, 3, limit=limit)
        ledger.verify()


def test_no_more_is_voided_than_is_in_the_way_and_the_oldest_first(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        made = [charge(ledger, number, limit=composed(3)) for number in (1, 2, 3)]
        charge(ledger, 4, limit=composed(3))
        assert [can_release(ledger, each) for each in made] == [False, True, True]


def test_a_refusal_voids_nothing(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        made = charge(ledger, 1, limit=composed(1))
        before = bodies(path)
        with pytest.raises(BudgetError):
            charge(ledger, 2, event=PrivacyEvent(0.3, 0.5, 100), limit=composed(1))
        assert bodies(path) == before
        ledger.mark_released(made.id, CONTENT)


def test_a_settled_or_voided_charge_is_not_given_again(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        first = charge(ledger, 1, limit=composed(1))
        charge(ledger, 2, limit=composed(1))
        again = charge(ledger, 1, limit=composed(1))
        assert again.id != first.id


def test_a_delta_that_would_allow_publishing_a_unit_is_refused(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        order = {"run": "a", "round_number": 1, "event": ROUND, "epsilon_limit": 100.0}
        for dataset in (records("a", "b"), persons(one=["a", "b"], two=["c", "d", "e"])):
            with pytest.raises(BudgetError, match=r"below 1 / 2 = 0\.5"):
                ledger.charge(dataset=dataset, delta=0.5, **order)
        assert ledger.charges() == []


def test_a_charge_says_what_it_pays_for(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        made = charge(ledger, 3)
    assert (made.run, made.round_number, made.dataset) == ("run-1", 3, DATA.fingerprint)
    assert (made.event, made.delta) == (ROUND, DELTA)


def test_a_ledger_of_the_version_before_goes_on(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        made = charge(ledger, 1)
    with sqlite3.connect(path) as earlier:
        earlier.execute("PRAGMA user_version=2")
    with Ledger(path, SITE) as ledger:
        ledger.mark_released(made.id, CONTENT)
        ledger.verify()
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (3,)


@pytest.mark.parametrize(
    ("run", "round_number", "event"),
    [("run-2", 1, ROUND), ("run-1", 2, ROUND), ("run-1", 1, PrivacyEvent(1.0, 0.05, 11))],
)
def test_another_round_run_or_mechanism_is_charged_anew(
    path: Path, run: str, round_number: int, event: PrivacyEvent
) -> None:
    with Ledger(path, SITE) as ledger:
        charge(ledger, 1)
        charge(ledger, round_number, run=run, event=event)
        assert len(ledger.charges()) == 2


def test_two_data_sets_are_charged_in_one_round_of_one_run(path: Path) -> None:
    """Training and held-out records of a round: two charges, each taken up again and released by itself."""
    heldout = records("x", "y")
    with Ledger(path, SITE) as ledger:
        made = [charge(ledger, 1, dataset=dataset, limit=composed(1)) for dataset in (DATA, heldout)]
        again = [charge(ledger, 1, dataset=dataset, limit=composed(1)) for dataset in (DATA, heldout)]
        assert made == again
        assert made[0].id != made[1].id
        ledger.mark_released(made[1].id)
        assert states(ledger) == ["open", "released"]
        assert ledger.spent(DATA, DELTA) == ledger.spent(heldout, DELTA) == pytest.approx(composed(1))


def test_training_without_noise_needs_a_limit_of_infinity(path: Path) -> None:
    bare = PrivacyEvent(0.0, 0.05, 10)
    with Ledger(path, SITE) as ledger:
        with pytest.raises(BudgetError, match="bring it to inf"):
            charge(ledger, 1, event=bare)
        assert charge(ledger, 1, event=bare, limit=math.inf).epsilon_after == math.inf
        assert [row.epsilon_limit for row in ledger.charges()] == [None]


def test_a_charge_under_the_insecure_seed_is_marked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(path, SITE) as ledger:
        charge(ledger, 1)
        monkeypatch.setenv(SEED_VARIABLE, "7")
        charge(ledger, 1)  # taken up again, now with predictable noise
        charge(ledger, 2)
        monkeypatch.delenv(SEED_VARIABLE)
        charge(ledger, 2)  # what was predictable once may have been seen
        assert [row.insecure for row in ledger.charges()] == [True, True]


def test_a_clock_set_back_changes_no_order_and_is_noted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(["2031-01-01", "2031-01-02", "2031-01-03", "2031-01-03", "2030-06-01", "2030-06-02", "2031-01-03"])
    monkeypatch.setattr(journal, "now", lambda: f"{next(times)}T00:00:00.000+00:00")
    with Ledger(path, SITE) as ledger:
        spend(ledger, 1, limit=composed(2))
        ledger.mark_released(charge(ledger, 2, limit=composed(2)).id)
        with pytest.raises(BudgetError):
            charge(ledger, 3, limit=composed(2))
    with Ledger(path, SITE) as ledger:
        assert ledger.backwards() == [5, 6]
        assert [(row.id, row.created[:10]) for row in ledger.charges()] == [(3, "2031-01-03"), (5, "2030-06-01")]
        ledger.verify()


def test_threads_sharing_a_ledger_do_not_overspend(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        results: list[bool] = []

        def work(number: int) -> None:
            try:
                spend(ledger, number, limit=composed(3))
                results.append(True)
            except BudgetError:  # there was no room, or another thread's charge took it
                results.append(False)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        released = [row for row in ledger.charges() if row.released is not None]
        assert len(released) == sum(results) == 3
        ledger.verify()


def test_two_ledgers_on_one_file_see_each_other_s_charges(path: Path) -> None:
    with Ledger(path, SITE) as one, Ledger(path, SITE) as other:
        made = charge(one, 1)
        assert other.spent(DATA, DELTA) == pytest.approx(composed(1))
        other.mark_released(made.id)
        assert states(one) == ["released"]
        charge(one, 2)
        assert one.verify() == other.verify()


def test_another_process_s_charges_while_the_ledger_is_opened_or_verified_raise_no_alarm(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes between reading the head and reading the entries, the head must not seem to run ahead."""
    with Ledger(path, SITE) as other:
        rounds = itertools.count(1)

        def charged_meanwhile(ledger: Path) -> Head | None:
            charge(other, next(rounds), limit=math.inf)
            return read_head(ledger)

        monkeypatch.setattr(journal, "read_head", charged_meanwhile)
        with Ledger(path, SITE) as ledger:
            ledger.verify()
            assert len(ledger.charges()) == 2


# The file


def test_only_the_owner_may_read_it(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        charge(ledger, 1)
        assert {file.suffix for file in path.parent.iterdir()} >= {".sqlite", ".head"}
        for file in path.parent.iterdir():
            assert file.stat().st_mode & 0o077 == 0


def test_commits_reach_the_disk_before_they_return(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        connection = ledger._journal._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_new_ledger_s_name_reaches_the_disk_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut, a file that no directory names would be a site that has spent nothing."""
    flushed: list[Path] = []
    monkeypatch.setattr(store, "sync_directory", flushed.append)
    store.open_store(path).close()
    assert flushed == [path.parent]


def test_nobody_else_writes_between_what_is_read_and_what_is_charged_for_it(path: Path) -> None:
    """Or two processes would both find room for the last round."""
    connection = store.open_store(path)
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    with store.immediate(connection, path), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
    connection.close()


@pytest.mark.parametrize("statement", ["UPDATE entries SET body = ''", "DELETE FROM entries", "DELETE FROM members"])
def test_the_table_takes_additions_only(path: Path, statement: str) -> None:
    write_ledger(path)
    with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
        sqlite3.connect(path).execute(statement)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all, but long enough to look at" * 40)
    with pytest.raises(StorageError, match="not a ledger"):
        Ledger(path, SITE)


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StorageError, match="something else"):
        Ledger(path, SITE)
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_schema").fetchall() == [("songs",)]


@pytest.mark.parametrize("version", [1, 99])
def test_a_ledger_of_another_version_is_refused(path: Path, version: int) -> None:
    Ledger(path, SITE).close()
    with sqlite3.connect(path) as later:
        later.execute(f"PRAGMA user_version={version}")
    with pytest.raises(StorageError, match=f"has version {version} where this Sealora reads version 3: use the"):
        Ledger(path, SITE)


def test_a_directory_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=str(tmp_path)):
        Ledger(tmp_path, SITE)


def test_a_writer_that_holds_the_ledger_too_long_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_BUSY_SECONDS", 0.1)
    with Ledger(path, SITE) as ledger, Ledger(path, SITE) as other:
        other._journal._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another process has held it"):
            charge(ledger, 1)
        other._journal._connection.execute("ROLLBACK")


def test_a_full_database_refuses_the_charge_in_one_sentence_and_writes_nothing_of_it(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        connection = ledger._journal._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 2}")
        made: list[int] = []

        def fill() -> None:
            while True:
                made.append(charge(ledger, len(made), run="long name " * 100, limit=math.inf).id)

        with pytest.raises(StorageError, match="the disk is full"):
            fill()
        assert [row.id for row in ledger.charges()] == made
        ledger.verify()
        connection.execute("PRAGMA max_page_count=100000")
        charge(ledger, 1001, limit=math.inf)  # and it works again once there is room
        ledger.verify()


def test_a_charge_that_fails_half_way_leaves_nothing_and_the_ledger_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with Ledger(path, SITE) as ledger:
        with monkeypatch.context() as broken:
            broken.setattr(journal, "write_members", fail)  # after the data set's entry, before the charge's
            with pytest.raises(StorageError, match="disk I/O error: check the disk"):
                charge(ledger, 1)
        assert ledger.datasets() == []
        assert charge(ledger, 1).id == 3
        ledger.verify()


@pytest.mark.parametrize("room", ["64k", "104k"])
def test_a_full_disk_never_loses_what_was_granted(tmp_path: Path, room: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    path = disk / "ledger.sqlite"
    granted: list[int] = []
    released: list[int] = []

    def fill() -> None:
        with Ledger(path, SITE) as ledger:
            for number in range(1000):
                granted.append(charge(ledger, number, limit=math.inf).id)
                ledger.mark_released(granted[-1])
                released.append(granted[-1])

    try:
        with pytest.raises(StorageError, match="the disk is full: free some space"):
            fill()
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        with Ledger(path, SITE) as ledger:
            rows = {row.id: row for row in ledger.charges()}
            assert set(granted) <= set(rows)
            assert all(rows[number].released for number in released)
            charge(ledger, 1001, limit=math.inf)
            ledger.verify()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_head_that_cannot_be_written_stops_no_release_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a crash between the commit and the head would: the charge is there, and no alarm is raised."""
    with Ledger(path, SITE) as ledger:
        first = charge(ledger, 1)

        def full(*arguments: object) -> None:
            raise StorageError("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(journal, "write_head", full)
            ledger.mark_released(first.id)
        head = read_head(path)
        assert head is not None
        assert head.number == 3
    with Ledger(path, SITE) as ledger:
        assert states(ledger) == ["released"]
        caught_up = read_head(path)
        assert caught_up is not None
        assert caught_up.number == 4
        ledger.verify()
