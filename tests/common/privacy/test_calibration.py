"""The noise that a budget buys, and deltas that promise nothing."""

from __future__ import annotations

from typing import get_args

import pytest

from quick_cases import quick_cases
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import (
    HEADROOM,
    Accountant,
    Noise,
    PrivacyEvent,
    calibrate_noise,
    check_delta,
    epsilon_pld,
    epsilon_rdp,
)

MEASURES = {"rdp": epsilon_rdp, "pld": epsilon_pld}


@pytest.mark.parametrize(
    ("epsilon", "delta", "rate", "steps", "accountant"),
    [
        (8.0, 3.2e-4, 0.085, 12, "rdp"),
        (2.0, 1e-5, 0.05, 80, "rdp"),
        (0.1, 1e-6, 0.01, 100, "rdp"),
        (1.0, 1e-5, 1.0, 3, "rdp"),
        (1.0, 1e-5, 1.0, 3, "pld"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "grid_steps"), quick_cases([("gaussian", 0), ("skellam", 9), ("skellam", 2**16)], ("skellam", 2**16))
)
def test_calibration_finds_the_smallest_noise_within_the_budget(
    epsilon: float, delta: float, rate: float, steps: int, accountant: Accountant, kind: Noise, grid_steps: int
) -> None:
    def cost(noise: float) -> float:
        return MEASURES[accountant]([PrivacyEvent(noise, rate, steps, kind, grid_steps)], delta)

    noise = calibrate_noise(epsilon, delta, rate, steps, accountant, kind, grid_steps)
    assert noise * 10_000 == pytest.approx(round(noise * 10_000), abs=1e-6)
    assert cost(noise) <= epsilon * (1 - HEADROOM)
    assert cost(noise - 1.01e-4) > epsilon * (1 - HEADROOM)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("budget", "by_pld", "by_rdp"),
    [
        # epsilon, delta, sample rate, steps: the demo's training and evaluations, an 8B recipe's, small budgets
        ((8.0, 1e-4, 0.03, 10), 0.4176, 0.4650),
        ((8.0, 1e-4, 1.0, 6), 1.3303, 1.4250),
        ((8.0, 1e-6, 0.02, 88), 0.5659, 0.6026),
        ((1.0, 1e-5, 0.001, 2000), 0.6624, 0.8573),
    ],
)
def test_what_is_enforced_asks_for_less_noise_than_rdp(
    budget: tuple[float, float, float, int], by_pld: float, by_rdp: float
) -> None:
    assert calibrate_noise(*budget) == by_pld
    assert calibrate_noise(*budget, "rdp") == by_rdp


@pytest.mark.slow
@pytest.mark.parametrize(("epsilon", "steps"), [(8.0, 10), (2.0, 50)])
def test_skellam_noise_on_a_usual_grid_is_as_cheap_as_gaussian_noise(epsilon: float, steps: int) -> None:
    def cost(noise: float, kind: Noise, grid_steps: int) -> float:
        return epsilon_rdp([PrivacyEvent(noise, 0.03, steps, kind, grid_steps)], 1e-4)

    noise = calibrate_noise(epsilon, 1e-4, 0.03, steps, "rdp")
    assert cost(noise, "gaussian", 0) <= cost(noise, "skellam", 2**10) <= 1.0001 * cost(noise, "gaussian", 0)
    assert cost(noise + 1e-4, "skellam", 2**10) <= epsilon
    assert cost(noise + 1e-2, "skellam", 4) > epsilon


def test_what_is_free_needs_no_noise() -> None:
    assert calibrate_noise(1.0, 1e-5, 0.0, 10) == 0
    assert calibrate_noise(1.0, 1e-5, 0.5, 0) == 0


def test_an_impossible_budget_is_refused_with_what_is_possible() -> None:
    with pytest.raises(BudgetError, match=r"privacy\.epsilon 1e-06 .* over 80 steps .* at best"):
        calibrate_noise(1e-6, 1e-12, 0.05, 80)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_a_budget_that_is_none_is_refused(epsilon: float) -> None:
    with pytest.raises(BudgetError, match=r"privacy\.epsilon is .*: it must be above 0"):
        calibrate_noise(epsilon, 1e-5, 0.05, 80)


def test_skellam_noise_without_its_units_is_refused() -> None:
    with pytest.raises(BudgetError, match="grid_steps is 0"):
        calibrate_noise(1.0, 1e-5, 0.05, 80, noise="skellam")


def test_no_accountant_is_offered_but_the_two_that_are_bounds() -> None:
    assert set(get_args(Accountant)) == set(MEASURES)
    with pytest.raises(BudgetError, match="accountant is 'gdp': it must be one of pld, rdp"):
        calibrate_noise(1.0, 1e-5, 0.05, 80, "gdp")  # type: ignore[arg-type]


def test_delta_must_be_below_one_over_the_records() -> None:
    check_delta(9.9e-4, 1000)
    with pytest.raises(BudgetError, match=r"0\.001 but must be below 1 / 1000 .* set it to 0\.0001"):
        check_delta(1e-3, 1000)
    with pytest.raises(BudgetError, match="0 training records"):
        check_delta(1e-5, 0)
    with pytest.raises(BudgetError, match="above 0 and below 1"):
        check_delta(0.0, 10)
