"""A charge is open, then released, settled or voided; what is given again, and what is charged anew."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from sealora_client.ledger import Charge, Ledger, PaidRelease, journal
from sealora_common.entropy import SEED_VARIABLE
from sealora_common.errors import AlreadyReleasedError, BudgetError
from sealora_common.privacy.accounting import PrivacyEvent

from ledger_runs import DATA, DELTA, ROUND, SITE, bodies, charge, composed, persons, records, spend, states


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


@pytest.mark.parametrize("version", [2, 3])
def test_a_ledger_of_a_version_before_goes_on(path: Path, version: int) -> None:
    with Ledger(path, SITE) as ledger:
        made = charge(ledger, 1)
    with sqlite3.connect(path) as earlier:
        earlier.execute(f"PRAGMA user_version={version}")
    with Ledger(path, SITE) as ledger:
        ledger.mark_released(made.id, CONTENT)
        ledger.verify()
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (4,)


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
