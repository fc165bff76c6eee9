"""What may be charged, what it costs with all that was charged before, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sealora_client.ledger import Ledger
from sealora_client.ledger.overspend import repeats_that_fit
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld

from ledger_runs import DATA, DELTA, ROUND, SITE, bodies, charge, composed, records, spend


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
