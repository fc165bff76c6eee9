"""Segments together: their order, kinds and sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.errors import BudgetError
from sealora_common.privacy import composition
from sealora_common.privacy.accounting import ORDERS, Mechanism, Noise, epsilon_prv, epsilon_rdp
from sealora_common.privacy.gaussian import gaussian_step
from sealora_common.privacy.prv import LossOfAdding

Measure = Callable[[Sequence[Mechanism], float], float]

NOISE = st.floats(0.2, 1000.0)
RATE = st.floats(1e-6, 1.0)
DELTA = st.floats(1e-9, 1e-2)


def test_the_worked_example() -> None:
    segment = [Mechanism(1.0, 0.01, 1000)]
    assert epsilon_rdp(segment, 1e-5) == pytest.approx(2.10, abs=0.005)
    assert epsilon_prv(segment, 1e-5) == pytest.approx(1.84, abs=0.005)
    assert epsilon_rdp([Mechanism(1.0, 0.01, 100_000)], 1e-5) == pytest.approx(27.2, abs=0.05)


def test_the_optimal_order_lies_inside_the_grid_for_usual_budgets() -> None:
    orders = np.asarray(ORDERS)
    for noise, least, most in ((20.0, 0.05, 0.1), (3.0, 0.5, 1.0), (0.9, 5.0, 6.0), (0.45, 20.0, 30.0)):
        costs = 100 * gaussian_step(noise, 0.05)
        converted = costs + np.log1p(-1 / orders) - (math.log(1e-5) + np.log(orders)) / (orders - 1)
        assert least < epsilon_rdp([Mechanism(noise, 0.05, 100)], 1e-5) < most
        assert 0 < int(converted.argmin()) < len(ORDERS) - 1


def test_segments_compose_like_one_and_in_any_order() -> None:
    whole = epsilon_rdp([Mechanism(1.0, 0.02, 300)], 1e-5)
    assert epsilon_rdp([Mechanism(1.0, 0.02, 100)] * 3, 1e-5) == pytest.approx(whole, rel=1e-12)
    first, second = Mechanism(0.8, 0.02, 100), Mechanism(2.0, 0.1, 50)
    together = epsilon_rdp([first, second], 1e-5)
    assert together == pytest.approx(epsilon_rdp([second, first], 1e-5), rel=1e-12)
    apart = [epsilon_rdp([segment], 1e-5) for segment in (first, second)]
    assert max(apart) < together < sum(apart)


@pytest.mark.parametrize("measure", [epsilon_rdp, epsilon_prv])
def test_kinds_of_noise_mix_in_one_epsilon(measure: Measure) -> None:
    gaussian, skellam = Mechanism(0.9, 0.03, 20), Mechanism(0.9, 0.03, 20, "skellam", 2**14)
    mixed = measure([gaussian, skellam], 1e-4)
    assert mixed == pytest.approx(measure([Mechanism(0.9, 0.03, 40)], 1e-4), abs=1e-3)
    assert mixed == pytest.approx(measure([skellam, gaussian], 1e-4), rel=1e-9)
    coarse = measure([gaussian, Mechanism(0.9, 0.03, 20, "skellam", 4)], 1e-4)
    assert mixed + 0.01 < coarse < measure([gaussian, skellam, Mechanism(0.9, 0.03, 20, "skellam", 4)], 1e-4)


def test_prv_composes_unlike_segments_below_rdp() -> None:
    segments = [Mechanism(0.8, 0.02, 100), Mechanism(2.0, 0.1, 50, "skellam", 100), Mechanism(1.0, 0.05, 20)]
    assert 0.8 * epsilon_rdp(segments, 1e-5) < epsilon_prv(segments, 1e-5) < epsilon_rdp(segments, 1e-5)


def test_prv_is_the_larger_of_the_two_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    from opacus.accountants.analysis import prv

    segments = [Mechanism(1.0, 0.1, 20)]
    bound = epsilon_prv(segments, 1e-5)
    assert bound == pytest.approx(opacus_epsilon(segments, 1e-5), abs=1e-9)  # removing a record is the worse
    removing = prv.PoissonSubsampledGaussianPRV
    monkeypatch.setattr(prv, "PoissonSubsampledGaussianPRV", LossOfAdding)
    assert 0.2 * bound < epsilon_prv(segments, 1e-5) < bound
    monkeypatch.setattr("sealora_common.privacy.prv.LossOfAdding", removing)
    assert epsilon_prv(segments, 1e-5) == bound


def opacus_epsilon(segments: list[Mechanism], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(each.noise_multiplier, each.sample_rate, each.steps) for each in segments]
    return float(accountant.get_epsilon(delta))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("measure", [epsilon_rdp, epsilon_prv])
def test_nothing_costs_nothing_and_no_noise_everything(measure: Measure) -> None:
    assert measure([], 1e-5) == 0
    assert measure([Mechanism(0.0, 0.0, 5), Mechanism(0.0, 0.5, 0), Mechanism(0.0, 0.5, 0, "skellam", 3)], 1e-5) == 0
    assert measure([Mechanism(1.0, 0.01, 10), Mechanism(0.0, 0.01, 1)], 1e-5) == math.inf
    assert measure([Mechanism(1.0, 0.01, 10), Mechanism(0.0, 0.01, 1, "skellam", 100)], 1e-5) == math.inf


def test_prv_falls_back_on_rdp_where_it_cannot_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = [Mechanism(0.05, 0.9, 5)]
    assert epsilon_prv(huge, 1e-5) == epsilon_rdp(huge, 1e-5)
    usual = [Mechanism(1.0, 0.05, 5)]
    for answer in (math.nan, math.inf, 1e9):
        monkeypatch.setattr(composition, "prv_epsilon", lambda *_, answer=answer: answer)
        assert epsilon_prv(usual, 1e-5) == epsilon_rdp(usual, 1e-5)

    def too_coarse(*_: object) -> float:
        raise RuntimeError

    monkeypatch.setattr(composition, "prv_epsilon", too_coarse)
    assert epsilon_prv(usual, 1e-5) == epsilon_rdp(usual, 1e-5)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
@pytest.mark.parametrize("measure", [epsilon_rdp, epsilon_prv])
def test_a_delta_that_is_no_probability_is_refused(
    measure: Measure,
    delta: float,
) -> None:
    with pytest.raises(BudgetError, match="delta"):
        measure([], delta)


@settings(max_examples=25, deadline=None)
@given(noise=NOISE, rate=RATE, steps=st.integers(1, 5000), delta=DELTA, kind=st.sampled_from(["gaussian", "skellam"]))
def test_every_value_is_finite_and_sampling_never_costs_more(
    noise: float, rate: float, steps: int, delta: float, kind: Noise
) -> None:
    units = 0 if kind == "gaussian" else 7
    sampled = epsilon_rdp([Mechanism(noise, rate, steps, kind, units)], delta)
    assert 0 <= sampled <= epsilon_rdp([Mechanism(noise, 1.0, steps, kind, units)], delta) * (1 + 1e-9)
    assert math.isfinite(sampled)


@settings(max_examples=25, deadline=None)
@given(
    noise=NOISE,
    rate=RATE,
    steps=st.integers(1, 5000),
    delta=DELTA,
    units=st.sampled_from([0, 3, 2**12]),
    more=st.floats(1.0, 20.0),
)
def test_more_steps_more_sampling_and_less_noise_cost_more(
    noise: float, rate: float, steps: int, delta: float, units: int, more: float
) -> None:
    kind: Noise = "skellam" if units else "gaussian"

    def cost(noise: float, rate: float, steps: int, delta: float) -> float:
        return epsilon_rdp([Mechanism(noise, rate, steps, kind, units)], delta)

    least = cost(noise, rate, steps, delta) * (1 - 1e-9) - 1e-7  # of 5000 steps' summing errors
    assert cost(max(0.2, noise / more), rate, steps, delta) >= least
    assert cost(noise, min(1.0, rate * more), steps, delta) >= least
    assert cost(noise, rate, math.ceil(steps * more), delta) >= least
    assert cost(noise, rate, steps, delta / more) >= least


@pytest.mark.parametrize("units", [0, 2**12])
def test_more_steps_more_sampling_and_less_noise_cost_strictly_more(units: int) -> None:
    kind: Noise = "skellam" if units else "gaussian"
    for measure in (epsilon_rdp, epsilon_prv) if units else (epsilon_rdp,):
        base = measure([Mechanism(0.8, 0.03, 20, kind, units)], 1e-4)
        assert measure([Mechanism(0.79, 0.03, 20, kind, units)], 1e-4) > base
        assert measure([Mechanism(0.8, 0.031, 20, kind, units)], 1e-4) > base
        assert measure([Mechanism(0.8, 0.03, 21, kind, units)], 1e-4) > base
        assert measure([Mechanism(0.8, 0.03, 20, kind, units)], 0.9e-4) > base
