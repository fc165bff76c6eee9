"""Epsilons against published values, and against Rényi divergences integrated here."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from sealora_common.errors import BudgetError
from sealora_common.privacy import accounting
from sealora_common.privacy.accounting import (
    ORDERS,
    Mechanism,
    calibrate_noise,
    check_delta,
    epsilon_prv,
    epsilon_rdp,
)


def test_the_measured_table_of_one_thousand_steps() -> None:
    segment = [Mechanism(1.0, 0.01, 1000)]
    assert epsilon_rdp(segment, 1e-5) == pytest.approx(2.10, abs=0.005)
    assert epsilon_prv(segment, 1e-5) == pytest.approx(1.84, abs=0.005)


def test_the_measured_table_of_a_hundred_thousand_steps() -> None:
    assert epsilon_rdp([Mechanism(1.0, 0.01, 100_000)], 1e-5) == pytest.approx(27.2, abs=0.05)


def test_opacus_published_values() -> None:
    # opacus/tests/accountants_test.py: sigma 1.5, q 0.04, 90 epochs, delta 1e-5.
    segment = [Mechanism(1.5, 0.04, int(90 / 0.04))]
    assert epsilon_rdp(segment, 1e-5) == pytest.approx(7.32911117143, abs=1e-6)
    assert epsilon_prv(segment, 1e-5) == pytest.approx(6.7774, abs=0.01)


def test_tensorflow_privacy_published_values_are_not_exceeded() -> None:
    # tensorflow_privacy compute_dp_sgd_privacy_test (Test0, Test1), which converts RDP by the older, looser rule
    # of Mironov 2017, Prop. 3: epsilon = rdp + log(1/delta) / (order - 1). By that rule the values are the same.
    for n, batch, noise, epochs, delta, published, order in (
        (60_000, 150, 1.3, 15, 1e-5, 0.941870567, 19),
        (100_000, 100, 1.0, 30, 1e-7, 1.70928734, 13),
    ):
        rate, steps = batch / n, epochs * n // batch
        rdp = steps * accounting._rdp_of_one_step(noise, rate)[ORDERS.index(order)]
        assert rdp + math.log(1 / delta) / (order - 1) == pytest.approx(published, rel=1e-6)
        assert epsilon_rdp([Mechanism(noise, rate, steps)], delta) < published


def integrated_rdp(noise: float, rate: float, order: float) -> float:
    """Mironov et al. 2019, eq. (4): 1/(a-1) log E_{z ~ N(0, s^2)} [((1-q) + q exp((2z - 1) / 2s^2))^a], on a grid."""
    z = np.linspace(-12 * noise, order + 12 * noise, 2_000_001)
    log_base = -(z**2) / (2 * noise**2) - math.log(noise * math.sqrt(2 * math.pi))
    log_ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * z - 1) / (2 * noise**2))
    exponent = log_base + order * log_ratio
    peak = exponent.max()
    return float((peak + math.log(np.trapezoid(np.exp(exponent - peak), z))) / (order - 1))


@pytest.mark.parametrize("order", [1.1, 1.5, 2.0, 3.7, 8.0, 32.0, 64.0, 256.0])
@pytest.mark.parametrize(
    ("noise", "rate"), [(0.5, 0.01), (1.0, 0.01), (1.0, 0.3), (2.0, 0.05), (0.6, 0.9), (0.1, 1e-5), (10.0, 0.5)]
)
def test_one_step_costs_the_integral_of_its_definition(noise: float, rate: float, order: float) -> None:
    found = accounting._rdp_of_one_step(noise, rate)[ORDERS.index(order)]
    assert found == pytest.approx(integrated_rdp(noise, rate, order), rel=1e-5, abs=1e-9)


def test_without_sampling_it_is_the_gaussian_mechanism() -> None:
    for order, cost in zip(ORDERS, accounting._rdp_of_one_step(3.0, 1.0), strict=True):
        assert cost == pytest.approx(order / (2 * 9.0))


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1e3, 1e6, 1e300])
@pytest.mark.parametrize("rate", [1e-12, 0.5, 1 - 1e-12])
def test_extreme_values_stay_between_zero_and_the_unsampled_cost(noise: float, rate: float) -> None:
    sampled = epsilon_rdp([Mechanism(noise, rate, 3)], 1e-5)
    assert 0 <= sampled <= epsilon_rdp([Mechanism(noise, 1.0, 3)], 1e-5) + 1e-6


def test_the_optimal_order_lies_inside_the_grid_for_usual_budgets() -> None:
    rdp = np.asarray(ORDERS)
    for epsilon in (0.1, 1.0, 8.0, 50.0):
        noise = calibrate_noise(epsilon, 1e-5, 0.05, 100)
        costs = 100 * accounting._rdp_of_one_step(noise, 0.05)
        converted = costs + np.log1p(-1 / rdp) - (math.log(1e-5) + np.log(rdp)) / (rdp - 1)
        assert 0 < int(converted.argmin()) < len(ORDERS) - 1


def test_segments_compose_like_one_and_in_any_order() -> None:
    whole = epsilon_rdp([Mechanism(1.0, 0.02, 300)], 1e-5)
    assert epsilon_rdp([Mechanism(1.0, 0.02, 100)] * 3, 1e-5) == pytest.approx(whole, rel=1e-12)
    first, second = Mechanism(0.8, 0.02, 100), Mechanism(2.0, 0.1, 50)
    together = epsilon_rdp([first, second], 1e-5)
    assert together == pytest.approx(epsilon_rdp([second, first], 1e-5), rel=1e-12)
    apart = [epsilon_rdp([segment], 1e-5) for segment in (first, second)]
    assert max(apart) < together < sum(apart)


def test_prv_composes_unlike_segments_below_rdp() -> None:
    segments = [Mechanism(0.8, 0.02, 100), Mechanism(2.0, 0.1, 50), Mechanism(1.0, 0.05, 20)]
    assert 0.8 * epsilon_rdp(segments, 1e-5) < epsilon_prv(segments, 1e-5) < epsilon_rdp(segments, 1e-5)


def test_nothing_costs_nothing() -> None:
    for measure in (epsilon_rdp, epsilon_prv):
        assert measure([], 1e-5) == 0
        assert measure([Mechanism(0.0, 0.0, 5), Mechanism(0.0, 0.5, 0)], 1e-5) == 0


def test_no_noise_costs_everything() -> None:
    for measure in (epsilon_rdp, epsilon_prv):
        assert measure([Mechanism(1.0, 0.01, 10), Mechanism(0.0, 0.01, 1)], 1e-5) == math.inf


def test_prv_falls_back_on_rdp_where_it_cannot_be_computed() -> None:
    huge = [Mechanism(0.05, 0.9, 5)]
    assert epsilon_prv(huge, 1e-5) == epsilon_rdp(huge, 1e-5)


@pytest.mark.parametrize(
    ("epsilon", "delta", "rate", "steps"), [(8.0, 3.2e-4, 0.085, 12), (2.0, 1e-5, 0.05, 80), (0.1, 1e-6, 0.01, 100)]
)
def test_calibration_finds_the_smallest_noise_within_the_budget(
    epsilon: float, delta: float, rate: float, steps: int
) -> None:
    noise = calibrate_noise(epsilon, delta, rate, steps)
    assert epsilon_rdp([Mechanism(noise, rate, steps)], delta) <= epsilon
    assert epsilon_rdp([Mechanism(noise - 1.01e-4, rate, steps)], delta) > epsilon


def test_calibration_by_prv_asks_for_less_noise() -> None:
    assert calibrate_noise(8.0, 3.2e-4, 0.085, 12, "prv") < calibrate_noise(8.0, 3.2e-4, 0.085, 12)


def test_an_impossible_budget_is_refused_with_what_is_possible() -> None:
    with pytest.raises(BudgetError, match=r"privacy\.epsilon 0\.001 .* over 80 steps .* at best"):
        calibrate_noise(0.001, 1e-9, 0.05, 80)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_that_is_no_probability_is_refused(delta: float) -> None:
    with pytest.raises(BudgetError, match="delta"):
        epsilon_rdp([], delta)


def test_delta_must_be_below_one_over_the_records() -> None:
    check_delta(9.9e-4, 1000)
    with pytest.raises(BudgetError, match=r"0\.001 but must be below 1 / 1000 .* set it to 0\.0001"):
        check_delta(1e-3, 1000)
    with pytest.raises(BudgetError, match="0 training records"):
        check_delta(1e-5, 0)


@pytest.mark.parametrize(
    "values", [(-1.0, 0.5, 1), (math.nan, 0.5, 1), (1.0, 1.5, 1), (1.0, math.nan, 1), (1.0, 0.5, -1)]
)
def test_a_mechanism_out_of_range_is_refused(values: tuple[float, float, int]) -> None:
    with pytest.raises(BudgetError):
        Mechanism(*values)


def test_importing_the_module_loads_neither_torch_nor_opacus() -> None:
    program = (
        "import sys, sealora_common.privacy.accounting; sys.exit(any(m in sys.modules for m in ('torch', 'opacus')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
