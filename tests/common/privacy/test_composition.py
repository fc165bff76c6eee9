"""Segments together: their order, kinds and sizes."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_ndtr, ndtr

from sealora_common.errors import BudgetError
from sealora_common.privacy import composition, loss_composition
from sealora_common.privacy.accounting import (
    HEADROOM,
    ORDERS,
    Noise,
    PrivacyEvent,
    calibrate_noise,
    epsilon_pld,
    epsilon_rdp,
)
from sealora_common.privacy.gaussian import gaussian_step
from sealora_common.privacy.privacy_loss import SampledStep

Measure = Callable[[Sequence[PrivacyEvent], float], float]

NOISE = st.floats(0.2, 1000.0)
RATE = st.floats(1e-6, 1.0)
DELTA = st.floats(1e-9, 1e-2)


def test_the_worked_example() -> None:
    segment = [PrivacyEvent(1.0, 0.01, 1000)]
    assert epsilon_rdp(segment, 1e-5) == pytest.approx(2.10, abs=0.005)
    assert epsilon_pld(segment, 1e-5) == pytest.approx(1.828, abs=0.0005)
    assert epsilon_rdp([PrivacyEvent(1.0, 0.01, 100_000)], 1e-5) == pytest.approx(27.2, abs=0.05)
    assert epsilon_pld([PrivacyEvent(1.0, 0.01, 100_000)], 1e-5) == pytest.approx(25.57, abs=0.01)


def test_the_optimal_order_lies_inside_the_grid_for_usual_budgets() -> None:
    orders = np.asarray(ORDERS)
    for noise, least, most in ((20.0, 0.05, 0.1), (3.0, 0.5, 1.0), (0.9, 5.0, 6.0), (0.45, 20.0, 30.0)):
        costs = 100 * gaussian_step(noise, 0.05)
        converted = costs + np.log1p(-1 / orders) - (math.log(1e-5) + np.log(orders)) / (orders - 1)
        assert least < epsilon_rdp([PrivacyEvent(noise, 0.05, 100)], 1e-5) < most
        assert 0 < int(converted.argmin()) < len(ORDERS) - 1


def test_segments_compose_like_one_and_in_any_order() -> None:
    whole = epsilon_rdp([PrivacyEvent(1.0, 0.02, 300)], 1e-5)
    assert epsilon_rdp([PrivacyEvent(1.0, 0.02, 100)] * 3, 1e-5) == pytest.approx(whole, rel=1e-12)
    first, second = PrivacyEvent(0.8, 0.02, 100), PrivacyEvent(2.0, 0.1, 50)
    together = epsilon_rdp([first, second], 1e-5)
    assert together == pytest.approx(epsilon_rdp([second, first], 1e-5), rel=1e-12)
    apart = [epsilon_rdp([segment], 1e-5) for segment in (first, second)]
    assert max(apart) < together < sum(apart)


def test_what_is_enforced_is_the_same_to_the_last_bit_in_any_order() -> None:
    """Server and sites hold the same charges, each in its own order. Unsorted these differ in the last digit."""
    segments = [(0.92, 0.85, 49), (0.75, 0.13, 49), (1.68, 0.66, 51), (1.1, 0.49, 58), (2.61, 0.44, 49)]
    events, delta = [PrivacyEvent(*segment) for segment in segments], 1e-4
    shown = set()
    for order in (events, events[::-1], events[2:] + events[:2], events[1:] + events[:1]):
        composition._pld.cache_clear()
        shown.add(epsilon_pld(order, delta))
    assert len(shown) == 1


@pytest.mark.parametrize("measure", [epsilon_rdp, epsilon_pld])
def test_kinds_of_noise_mix_in_one_epsilon(measure: Measure) -> None:
    gaussian, skellam = PrivacyEvent(0.9, 0.03, 20), PrivacyEvent(0.9, 0.03, 20, "skellam", 2**14)
    mixed = measure([gaussian, skellam], 1e-4)
    assert mixed == pytest.approx(measure([PrivacyEvent(0.9, 0.03, 40)], 1e-4), abs=1e-3)
    assert mixed == pytest.approx(measure([skellam, gaussian], 1e-4), rel=1e-9)
    coarse = measure([gaussian, PrivacyEvent(0.9, 0.03, 20, "skellam", 4)], 1e-4)
    assert mixed + 0.01 < coarse < measure([gaussian, skellam, PrivacyEvent(0.9, 0.03, 20, "skellam", 4)], 1e-4)


def test_unlike_segments_compose_below_rdp() -> None:
    segments = [PrivacyEvent(0.8, 0.02, 100), PrivacyEvent(2.0, 0.1, 50, "skellam", 100), PrivacyEvent(1.0, 0.05, 20)]
    assert 0.8 * epsilon_rdp(segments, 1e-5) < epsilon_pld(segments, 1e-5) < epsilon_rdp(segments, 1e-5)


@settings(max_examples=40)
@given(pieces=st.deferred(lambda: PIECES), delta=DELTA)
def test_rdp_is_asked_wherever_its_bound_is_the_smaller_one(pieces: list[PrivacyEvent], delta: float) -> None:
    # Both sides of where the grid is coarse, and mixtures of them.
    assert epsilon_pld(pieces, delta) <= epsilon_rdp(pieces, delta)


def test_where_the_grid_is_coarse_rdp_has_the_smaller_bound() -> None:
    many_small = [PrivacyEvent(213.0, 0.0185, 53_900)]
    of_losses = loss_composition.epsilon_of_losses(composition.merged_steps(many_small), 5e-8)
    assert epsilon_pld(many_small, 5e-8) == epsilon_rdp(many_small, 5e-8) < 0.8 * of_losses


def test_calibrating_and_composing_a_run_of_usual_size_loads_no_torch() -> None:
    # RDP's series come with Opacus, and so with torch: seconds and hundreds of megabytes for a server without models.
    program = (
        "import sys\n"
        "from sealora_common.privacy.accounting import PrivacyEvent, calibrate_noise, epsilon_pld\n"
        "for epsilon, rate, steps in ((8.0, 0.03, 6), (2.0, 0.015, 12), (1.0, 1.0, 3), (0.2, 0.01, 1000)):\n"
        "    noise = calibrate_noise(epsilon, 1e-5, rate, steps)\n"
        "    assert 0 < epsilon_pld([PrivacyEvent(noise, rate, 1)], 1e-5) < epsilon\n"
        "print('torch' in sys.modules, 'opacus' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("segments", "delta"),
    [
        ([PrivacyEvent(1.0, 0.1, 20)], 1e-5),
        ([PrivacyEvent(0.6, 0.03, 10), PrivacyEvent(1.1, 0.2, 30)], 1e-4),
        ([PrivacyEvent(0.8, 0.02, 3000)], 1e-6),
    ],
)
def test_it_is_what_opacus_composes_less_the_error_that_opacus_allows_for(
    segments: list[PrivacyEvent], delta: float
) -> None:
    # Removing a record is the worse in these; Opacus composes that alone, to within 0.01.
    assert epsilon_pld(segments, delta) == pytest.approx(opacus_epsilon(segments, delta) - 0.01, abs=1e-3)


def test_the_larger_of_the_two_directions_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {SampledStep(1.0, 0.1): 20}
    removed, added = (loss_composition._one_direction(steps, 1e-5, added=added) for added in (False, True))
    assert 0.2 * removed < added < removed == loss_composition.epsilon_of_losses(steps, 1e-5)
    either = loss_composition.loss_grid
    monkeypatch.setattr(loss_composition, "loss_grid", lambda step, added: either(step, added=not added))
    assert loss_composition.epsilon_of_losses(steps, 1e-5) == removed


def opacus_epsilon(segments: list[PrivacyEvent], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(each.noise_multiplier, each.sample_rate, each.steps) for each in segments]
    return float(accountant.get_epsilon(delta))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("measure", [epsilon_rdp, epsilon_pld])
def test_nothing_costs_nothing_and_no_noise_everything(measure: Measure) -> None:
    assert measure([], 1e-5) == 0
    assert (
        measure([PrivacyEvent(0.0, 0.0, 5), PrivacyEvent(0.0, 0.5, 0), PrivacyEvent(0.0, 0.5, 0, "skellam", 3)], 1e-5)
        == 0
    )
    assert measure([PrivacyEvent(1.0, 0.01, 10), PrivacyEvent(0.0, 0.01, 1)], 1e-5) == math.inf
    assert measure([PrivacyEvent(1.0, 0.01, 10), PrivacyEvent(0.0, 0.01, 1, "skellam", 100)], 1e-5) == math.inf


@pytest.mark.slow
def test_it_falls_back_on_rdp_where_losses_cannot_be_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    for segments, delta in (
        ([PrivacyEvent(0.05, 0.9, 5)], 1e-5),  # epsilon far above 100
        ([PrivacyEvent(0.03, 1e-7, 1)], 1e-5),  # losses that reach too far
        ([PrivacyEvent(4.0, 1.0, 3)], 1e-60),  # a delta smaller than what lies beyond the grid
    ):
        assert 0 < epsilon_pld(segments, delta) == epsilon_rdp(segments, delta) < math.inf
    for answer in (1e9, math.inf):
        monkeypatch.setattr(composition, "epsilon_of_losses", lambda *_, answer=answer: answer)
        composition._pld.cache_clear()
        assert epsilon_pld([PrivacyEvent(1.0, 0.05, 7)], 1e-5) == epsilon_rdp([PrivacyEvent(1.0, 0.05, 7)], 1e-5)
    composition._pld.cache_clear()


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
@pytest.mark.parametrize("measure", [epsilon_rdp, epsilon_pld])
def test_a_delta_that_is_no_probability_is_refused(
    measure: Measure,
    delta: float,
) -> None:
    with pytest.raises(BudgetError, match="delta"):
        measure([], delta)


@settings(max_examples=25)
@given(noise=NOISE, rate=RATE, steps=st.integers(1, 5000), delta=DELTA, kind=st.sampled_from(["gaussian", "skellam"]))
def test_every_value_is_finite_and_sampling_never_costs_more(
    noise: float, rate: float, steps: int, delta: float, kind: Noise
) -> None:
    grid_steps = 0 if kind == "gaussian" else 7
    sampled = epsilon_rdp([PrivacyEvent(noise, rate, steps, kind, grid_steps)], delta)
    assert 0 <= sampled <= epsilon_rdp([PrivacyEvent(noise, 1.0, steps, kind, grid_steps)], delta) * (1 + 1e-9)
    assert math.isfinite(sampled)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    noise=NOISE,
    rate=RATE,
    steps=st.integers(1, 5000),
    delta=DELTA,
    grid_steps=st.sampled_from([0, 3, 2**12]),
    more=st.floats(1.0, 20.0),
)
def test_more_steps_more_sampling_and_less_noise_cost_more(
    noise: float, rate: float, steps: int, delta: float, grid_steps: int, more: float
) -> None:
    kind: Noise = "skellam" if grid_steps else "gaussian"

    def cost(noise: float, rate: float, steps: int, delta: float) -> float:
        return epsilon_rdp([PrivacyEvent(noise, rate, steps, kind, grid_steps)], delta)

    least = cost(noise, rate, steps, delta) * (1 - 1e-9) - 1e-7  # of 5000 steps' summing errors
    assert cost(max(0.2, noise / more), rate, steps, delta) >= least
    assert cost(noise, min(1.0, rate * more), steps, delta) >= least
    assert cost(noise, rate, math.ceil(steps * more), delta) >= least
    assert cost(noise, rate, steps, delta / more) >= least


@pytest.mark.parametrize("grid_steps", [0, 2**12])
def test_more_steps_more_sampling_and_less_noise_cost_strictly_more(grid_steps: int) -> None:
    kind: Noise = "skellam" if grid_steps else "gaussian"
    for measure in (epsilon_rdp, epsilon_pld):
        base = measure([PrivacyEvent(0.8, 0.03, 20, kind, grid_steps)], 1e-4)
        assert measure([PrivacyEvent(0.79, 0.03, 20, kind, grid_steps)], 1e-4) > base
        assert measure([PrivacyEvent(0.8, 0.031, 20, kind, grid_steps)], 1e-4) > base
        assert measure([PrivacyEvent(0.8, 0.03, 21, kind, grid_steps)], 1e-4) > base
        assert measure([PrivacyEvent(0.8, 0.03, 20, kind, grid_steps)], 0.9e-4) > base


# A part never costs more than the whole: what was admitted is not refused half way.

PIECES = st.lists(
    st.builds(
        PrivacyEvent,
        noise_multiplier=st.one_of(st.floats(0.35, 3.0), st.floats(3.0, 300.0)),
        sample_rate=st.one_of(st.floats(1e-4, 1.0), st.sampled_from([1.0, 0.5, 0.03])),
        steps=st.one_of(st.integers(1, 30), st.integers(1000, 20_000)),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=40)
@given(pieces=PIECES, delta=DELTA, data=st.data())
def test_any_part_of_what_is_composed_costs_no_more_than_all_of_it(
    pieces: list[PrivacyEvent], delta: float, data: st.DataObject
) -> None:
    part = [
        dataclasses.replace(piece, steps=data.draw(st.one_of(st.integers(0, piece.steps), st.just(piece.steps - 1))))
        for piece in pieces
    ]
    assert epsilon_pld(part, delta) <= epsilon_pld(pieces, delta) * (1 + HEADROOM / 10)


@pytest.mark.slow
@settings(max_examples=12)
@given(
    epsilon=st.floats(0.05, 20.0),
    delta=DELTA,
    rate=st.one_of(st.floats(1e-3, 1.0), st.just(1.0)),
    steps=st.one_of(st.integers(2, 40), st.integers(1000, 30_000)),
    data=st.data(),
)
def test_no_round_of_a_run_that_was_calibrated_is_ever_above_its_budget(
    epsilon: float, delta: float, rate: float, steps: int, data: st.DataObject
) -> None:
    noise = calibrate_noise(epsilon, delta, rate, steps)
    for taken in {1, steps // 2, steps - 1, steps, data.draw(st.integers(1, steps))}:
        assert epsilon_pld([PrivacyEvent(noise, rate, taken)], delta) <= epsilon


@pytest.mark.slow
def test_every_prefix_of_a_thousand_rounds_costs_less_than_the_next() -> None:
    costs = [epsilon_pld([PrivacyEvent(0.83, 0.013, 4 * taken)], 1e-6) for taken in range(1, 1001, 9)]
    assert (np.diff(costs) > 0).all()


@pytest.mark.parametrize(("step", "count"), [(SampledStep(0.68, 4e-4), 1074), (SampledStep(0.5, 1e-4), 300)])
def test_losses_that_are_rare_and_far_above_the_spread_are_composed_in_no_wider_a_window(
    step: SampledStep, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 16 million losses, gigabytes and half a minute, if the window's slopes were all steeper than these losses bear.
    widths = []
    window = loss_composition._window

    def seen(grids: Sequence[loss_composition.Steps]) -> tuple[int, int]:
        low, high = window(grids)
        widths.append(high - low)
        return low, high

    monkeypatch.setattr(loss_composition, "_window", seen)
    assert 1 < loss_composition.epsilon_of_losses({step: count}, 1e-8) < 3
    assert max(widths) < 1_000_000


@settings(max_examples=30)
@given(noise=st.floats(0.4, 20.0), steps=st.integers(1, 50), delta=st.floats(1e-12, 0.1))
def test_without_sampling_the_epsilon_is_that_of_one_gaussian_to_the_last_point(
    noise: float, steps: int, delta: float
) -> None:
    # Balle & Wang 2018, Thm 8.
    shown, shift = epsilon_pld([PrivacyEvent(noise, 1.0, steps)], delta), math.sqrt(steps) / noise
    truth = ndtr(shift / 2 - shown / shift) - math.exp(shown + log_ndtr(-shift / 2 - shown / shift))
    assert truth <= delta * (1 + 1e-6)


@pytest.mark.parametrize("tilt", [1e-6, 0.01, 0.1, 0.3, 1.0, 2.0])
def test_no_tilt_however_unsuited_shows_less_than_the_one_that_suits(tilt: float) -> None:
    # What the Fourier transform misplaces may have either sign: only the allowance for it keeps these from being lower.
    for noise, count in ((0.5, 1), (5.0, 100), (3.0, 30)):
        grids = [(loss_composition.loss_grid(SampledStep(noise, 1.0), added=False), count)]
        for delta in (1e-12, 1e-15, 1e-18):
            suited = loss_composition._epsilon_at(loss_composition._best_tilt(grids, delta)[0], grids, delta)
            found = loss_composition._epsilon_at(tilt, grids, delta)
            assert suited is not None
            assert found is not None
            assert found[0] >= suited[0] * (1 - 1e-7)


def test_a_delta_below_what_lies_beyond_the_grid_has_no_epsilon_of_losses() -> None:
    once = {SampledStep(1.0, 1.0): 1}  # a loss beyond the grid has probability 1.8e-33
    assert loss_composition.epsilon_of_losses(once, 1e-32) < 13
    assert loss_composition.epsilon_of_losses(once, 1e-33) == math.inf


def test_no_tilt_is_tried_that_is_smaller_than_one_that_was_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    tilts = []
    epsilon_at = loss_composition._epsilon_at

    def seen(tilt: float, grids: Sequence[loss_composition.Steps], delta: float) -> tuple[float, float] | None:
        tilts.append(tilt)
        return epsilon_at(tilt, grids, delta)

    monkeypatch.setattr(loss_composition, "_epsilon_at", seen)
    # 15.6411 by Balle & Wang 2018, Thm 8: all steps together are one of noise 0.5. The grid adds at most 3e-4.
    many = {SampledStep(100.0, 1.0): 40_000}
    assert 15.6411 < loss_composition.epsilon_of_losses(many, 1e-12) < 15.643
    assert len(tilts) <= 2 * loss_composition._TRIES


def test_ten_unlike_segments_are_composed_quickly_enough_for_a_round() -> None:
    segments = [PrivacyEvent(0.6 + 0.07 * index, 0.01 * (1 + index), 10 + index) for index in range(10)]
    started = time.perf_counter()
    epsilon_pld(segments, 1e-5)
    assert time.perf_counter() - started < 5.0  # 0.3 s on an idle core
