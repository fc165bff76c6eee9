"""Skellam noise: its exact distribution against the Gaussian noise that is said to be no better."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ive, logsumexp, ndtr, ndtri_exp

from sealora_common.privacy.accounting import ORDERS
from sealora_common.privacy.gaussian import gaussian_step
from sealora_common.privacy.skellam import gaussian_equivalent

VARIANCES = [0.3, 1.0, 2.0, 4.0, 9.0, 25.0, 100.0, 1e4]
SHIFTS = [
    # noise multiplier, grid_steps, shift of L2 norm `grid_steps` at most
    (1.5, 1, [1]),
    (0.4, 5, [5]),
    (1.0, 4, [4]),
    (3.0, 3, [3]),
    (0.7, 20, [20]),
    (1.0, 2, [1, 1, 1, 1]),
    (0.8, 5, [3, -4]),
    (0.5, 6, [2, 4, 4]),
    (2.0, 5, [5, 0]),
    (1.2, 3, [1, 2]),
]


def log_pmf(points: NDArray[np.int64], variance: float) -> NDArray[np.float64]:
    """log exp(-v) I_k(v), by SciPy's exponentially scaled Bessel function; -inf where that underflows."""
    with np.errstate(divide="ignore"):
        return np.log(ive(np.abs(points), variance))


def shifted_pair(noise: float, grid_steps: int, shift: list[int], margin: int = 0) -> tuple[NDArray[np.float64], ...]:
    """Log-probabilities of all grid points in reach, under the noise and under the noise shifted."""
    assert np.linalg.norm(shift) <= grid_steps
    variance = (noise * grid_steps) ** 2
    reach = math.ceil(9 * math.sqrt(variance)) + 6 + grid_steps + margin
    if len(shift) > 2:
        reach = math.ceil(6 * math.sqrt(variance)) + grid_steps
    points = np.arange(-reach, reach + 1)
    still, moved = np.zeros(1), np.zeros(1)
    for each in shift:
        still = np.add.outer(still, log_pmf(points, variance)).ravel()
        moved = np.add.outer(moved, log_pmf(points - each, variance)).ravel()
    return still, moved


def exact_divergences(
    noise: float, grid_steps: int, shift: list[int], rate: float, order: float
) -> tuple[float, float]:
    """Rényi divergences of one sampled step, a record removed and one added, summed over the grid.

    Points that fall out of reach leave the sums a little smaller.
    """
    still, moved = shifted_pair(noise, grid_steps, shift, margin=math.ceil(order) * max(map(abs, shift)))
    seen = np.isfinite(still) & np.isfinite(moved)
    still, moved = still[seen], moved[seen]
    mixed = np.logaddexp(math.log1p(-rate) + still, math.log(rate) + moved) if rate < 1 else moved
    removed, added = (
        float(logsumexp(order * first + (1 - order) * second) / (order - 1))
        for first, second in ((mixed, still), (still, mixed))
    )
    return removed, added


def gaussian_profile(mean: float, epsilon: float) -> float:
    """The smallest delta at `epsilon` of N(0, 1) against N(mean, 1) (Balle & Wang 2018, arXiv:1805.06530, Thm 8)."""
    return float(ndtr(mean / 2 - epsilon / mean) - math.exp(epsilon) * ndtr(-mean / 2 - epsilon / mean))


@pytest.mark.parametrize(("noise", "grid_steps", "shift"), SHIFTS)
def test_no_test_tells_skellam_pairs_apart_better_than_the_gaussian_ones(
    noise: float, grid_steps: int, shift: list[int]
) -> None:
    # By Blackwell's theorem, delta at every epsilon is all there is to know of a pair: sampling, composition and
    # every divergence follow.
    still, moved = shifted_pair(noise, grid_steps, shift)
    mean = 1 / gaussian_equivalent(noise, grid_steps)
    for epsilon in np.linspace(-6, 12, 73):
        for first, second in ((still, moved), (moved, still)):
            delta = np.maximum(np.exp(first) - np.exp(epsilon + second), 0.0).sum()
            assert delta <= gaussian_profile(mean, epsilon) + 1e-12


@pytest.mark.parametrize(("noise", "grid_steps", "shift"), SHIFTS)
@pytest.mark.parametrize("rate", [0.001, 0.03, 0.4, 1.0])
@pytest.mark.parametrize("order", [1.3, 2.0, 2.5, 5.0, 16.0, 32.0])
def test_a_sampled_step_costs_at_least_its_exact_divergence_in_both_directions(
    noise: float, grid_steps: int, shift: list[int], rate: float, order: float
) -> None:
    bound = gaussian_step(gaussian_equivalent(noise, grid_steps), rate)[ORDERS.index(order)]
    removed, added = exact_divergences(noise, grid_steps, shift, rate, order)
    assert max(removed, added) <= bound + 1e-9


@pytest.mark.parametrize(("noise", "grid_steps", "shift"), [(0.7, 60, [60]), (1.0, 50, [30, -40]), (2.0, 25, [7, 24])])
@pytest.mark.parametrize("rate", [0.001, 0.03, 0.4, 1.0])
@pytest.mark.parametrize("order", [1.3, 2.0, 3.0])
def test_on_a_grid_of_some_fineness_the_bound_is_within_two_per_cent(
    noise: float, grid_steps: int, shift: list[int], rate: float, order: float
) -> None:
    removed, _ = exact_divergences(noise, grid_steps, shift, rate, order)
    assert removed <= gaussian_step(gaussian_equivalent(noise, grid_steps), rate)[ORDERS.index(order)] <= 1.02 * removed


@pytest.mark.parametrize(("noise", "grid_steps", "shift"), SHIFTS)
def test_the_published_bound_agrees_within_the_stated_factor(noise: float, grid_steps: int, shift: list[int]) -> None:
    # Agarwal, Kairouz & Liu 2021, Cor. 3.6, with an L1 sensitivity of at most the squared L2 sensitivity.
    variance, squared = (noise * grid_steps) ** 2, grid_steps**2
    for order in (2, 3, 8, 16):
        published = order * squared / (2 * variance) + min(
            ((2 * order - 1) * squared + 6 * squared) / (4 * variance**2), 3 * squared / (2 * variance)
        )
        assert exact_divergences(noise, grid_steps, shift, 1.0, order)[0] <= published
        if variance >= 4:
            assert order / (2 * gaussian_equivalent(noise, grid_steps) ** 2) <= published * (1 + 1.5 / variance)


@pytest.mark.parametrize("variance", VARIANCES)
def test_neighbouring_bessel_ratios_are_smallest_at_the_centre(variance: float) -> None:
    # Step 1 of the proof.
    orders = np.arange(0, min(400, int(12 * math.sqrt(variance)) + 20))
    ratios = np.exp(log_pmf(orders - 1, variance) + log_pmf(orders + 1, variance) - 2 * log_pmf(orders, variance))
    assert (np.diff(ratios) >= -1e-12).all()


@pytest.mark.parametrize("variance", VARIANCES)
def test_normal_quantiles_of_the_noise_grow_no_faster_than_stated(variance: float) -> None:
    # Step 2 of the proof, from h_-1 = -h_0 outwards.
    points = np.arange(0, int(12 * math.sqrt(variance)) + 60)
    log_tails = np.log(np.cumsum(np.exp(log_pmf(points, variance))[::-1])[::-1])[1:]
    heights = -ndtri_exp(log_tails)
    growth = np.diff(np.concatenate([[-heights[0]], heights[: int(8 * math.sqrt(variance)) + 4]]))
    stated = 1 / gaussian_equivalent(math.sqrt(variance), 1)
    assert growth.max() <= stated
    if variance >= 4:
        assert stated <= growth.max() * (1 + 1.1 / variance)


@pytest.mark.parametrize("variance", [1e-3, *VARIANCES, 1e6])
def test_the_stated_growth_is_the_most_that_the_bessel_ratio_permits(variance: float) -> None:
    # The last step of the proof, first as it is computed and then as it is meant.
    squared = 1 / gaussian_equivalent(math.sqrt(variance), 1) ** 2
    amos = variance / (0.5 + math.sqrt(variance**2 + 2.25))
    assert -math.expm1(-2 * squared) / (2 * squared) <= amos**2 * (1 + 1e-14)
    assert amos <= ive(1, variance) / ive(0, variance)


def test_with_more_units_it_becomes_the_gaussian_mechanism() -> None:
    for noise in (0.3, 1.0, 5.0):
        for exponent in range(31):
            grid_steps = 2**exponent
            lost = noise / gaussian_equivalent(noise, grid_steps) - 1
            variance = (noise * grid_steps) ** 2
            assert lost >= 0
            if variance >= 4:
                assert lost <= 1.2 / variance + 1e-15
    assert gaussian_equivalent(0.5, 2**10) > 0.5 * (1 - 5e-6)


@given(
    noise=st.floats(1e-3, 1e4), grid_steps=st.integers(1, 2**40), louder=st.floats(1, 1e3), finer=st.integers(0, 2**20)
)
def test_more_noise_and_a_finer_grid_are_never_worse(noise: float, grid_steps: int, louder: float, finer: int) -> None:
    equivalent = gaussian_equivalent(noise, grid_steps)
    assert 0 < equivalent <= noise
    assert gaussian_equivalent(noise * louder, grid_steps) >= equivalent * (1 - 1e-14)
    assert gaussian_equivalent(noise, grid_steps + finer) >= equivalent * (1 - 1e-14)


def test_noise_too_small_to_square_promises_nothing() -> None:
    assert gaussian_equivalent(0.0, 5) == 0
    assert gaussian_equivalent(1e-200, 5) == 0
