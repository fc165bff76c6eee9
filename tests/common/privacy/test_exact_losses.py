"""Privacy losses composed here, in both directions: no accountant may come out below them.

An accountant of a few lines that owes nothing to the others. Outcomes are gathered into cells, and losses are
rounded down to a grid: both only lose information (post-processing), so that what comes out is a lower bound of the
true epsilon, to be held against the upper ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ive, ndtr

from sealora_common.privacy.accounting import Mechanism, epsilon_prv, epsilon_rdp

GRID = 2e-4  # of losses
Masses = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """Probabilities of each outcome of a step without the record and with it surely in the sample."""

    without: Masses
    sampled: Masses
    rate: float
    steps: int

    @property
    def mixed(self) -> Masses:
        return (1 - self.rate) * self.without + self.rate * self.sampled


def gaussian(noise: float, rate: float, steps: int) -> Segment:
    edges = np.linspace(-9 * noise, 1 + 9 * noise, 200_001)
    return Segment(cell_masses(edges / noise), cell_masses((edges - 1) / noise), rate, steps)


def cell_masses(edges: Masses) -> Masses:
    """Normal probabilities between neighbouring edges, exact in both tails."""
    right = edges[:-1] > 0
    return np.where(right, ndtr(-edges[:-1]) - ndtr(-edges[1:]), ndtr(edges[1:]) - ndtr(edges[:-1]))


def skellam(noise: float, units: int, shift: tuple[int, ...], rate: float, steps: int) -> Segment:
    variance = (noise * units) ** 2
    assert math.hypot(*shift) <= units
    points = np.arange(-math.ceil(9 * math.sqrt(variance)) - 6, math.ceil(9 * math.sqrt(variance)) + 7 + units)
    without, sampled = np.ones(1), np.ones(1)
    for each in shift:
        without = np.multiply.outer(without, ive(abs(points), variance)).ravel()
        sampled = np.multiply.outer(sampled, ive(abs(points - each), variance)).ravel()
    return Segment(without, sampled, rate, steps)


def least_epsilon(segments: list[Segment], delta: float, *, added: bool) -> float:
    """An epsilon below the true one at `delta`: of a record removed, or added, in all segments alike."""
    grids, lowest = [], 0
    for segment in segments:
        truth, other = (segment.without, segment.mixed) if added else (segment.mixed, segment.without)
        seen = (truth > 0) & (other > 0)
        losses = np.floor(np.log(truth[seen] / other[seen]) / GRID).astype(np.int64)
        lowest += segment.steps * int(losses.min())
        grids.append((np.bincount(losses - losses.min(), weights=truth[seen]), segment.steps))
    length = sum(steps * (len(grid) - 1) for grid, steps in grids) + 1
    transform = np.ones(1)
    for grid, steps in grids:
        transform = transform * rfft(grid, next_fast_len(length, real=True)) ** steps
    masses = irfft(transform, next_fast_len(length, real=True))[:length]
    losses = (lowest + np.arange(length)) * GRID
    kept = losses > 0
    masses, losses = masses[kept], losses[kept]
    if not kept.any():
        return 0.0

    def least_delta(epsilon: float) -> float:
        above = losses > epsilon
        return float(masses[above] @ -np.expm1(epsilon - losses[above]))

    low, high = 0.0, float(losses[-1])
    if least_delta(low) < delta:
        return 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if least_delta(middle) >= delta else (low, middle)
    return low


GAUSSIANS = [
    ([(0.465, 0.03, 10)], 1e-4),
    ([(0.8233, 0.03, 10)], 1e-4),
    ([(0.9325, 0.03, 50)], 1e-4),
    ([(0.8, 0.085, 12)], 3.2e-4),
    ([(1.0, 0.5, 4)], 1e-5),
    ([(2.0, 0.95, 5)], 1e-6),
    ([(3.0, 1.0, 3)], 1e-4),
    ([(0.6, 1e-4, 20)], 1e-6),
    ([(5.0, 0.1, 30)], 1e-3),
    ([(0.8, 0.02, 10), (2.0, 0.1, 20), (1.2, 0.3, 3)], 1e-5),
]
SKELLAMS = [
    # noise multiplier, units, shift, sample rate, steps; delta; what PRV may show above the exact epsilon. On a coarse
    # grid large losses are rarer than with the Gaussian noise that stands for the Skellam noise.
    ((0.5, 8, (8,), 0.03, 10), 1e-4, 1.8),
    ((0.8, 5, (3, -4), 0.1, 10), 1e-4, 1.5),
    ((1.5, 4, (0, 4), 0.5, 4), 1e-5, 0.7),
    ((2.0, 2, (1, 1), 1.0, 3), 1e-4, 1.5),
    ((1.0, 20, (20,), 0.03, 30), 1e-4, 0.05),
    ((0.6, 30, (18, 24), 0.05, 5), 1e-3, 0.06),
    ((0.5, 300, (300,), 0.03, 10), 1e-4, 0.02),
]


@pytest.mark.parametrize(("values", "delta"), GAUSSIANS)
def test_gaussian_epsilons_are_no_less_than_the_losses_of_removing_and_adding_and_prv_hardly_more(
    values: list[tuple[float, float, int]], delta: float
) -> None:
    segments = [gaussian(*each) for each in values]
    removed, added = (least_epsilon(segments, delta, added=added) for added in (False, True))
    mechanisms = [Mechanism(*each) for each in values]
    assert max(removed, added) <= epsilon_prv(mechanisms, delta) <= removed + 0.025
    assert max(removed, added) <= epsilon_rdp(mechanisms, delta)


@pytest.mark.parametrize(("values", "delta", "excess"), SKELLAMS)
def test_skellam_epsilons_are_no_less_than_the_losses_of_removing_and_adding(
    values: tuple[float, int, tuple[int, ...], float, int], delta: float, excess: float
) -> None:
    noise, units, _, rate, steps = values
    removed, added = (least_epsilon([skellam(*values)], delta, added=added) for added in (False, True))
    mechanisms = [Mechanism(noise, rate, steps, "skellam", units)]
    assert max(removed, added) <= epsilon_prv(mechanisms, delta) <= removed + excess
    assert max(removed, added) <= epsilon_rdp(mechanisms, delta)


def test_gaussian_and_skellam_segments_together_are_no_less_than_their_losses() -> None:
    exact = [skellam(1.0, 12, (12,), 0.05, 10), gaussian(0.9, 0.02, 20), skellam(1.4, 5, (3, 4), 0.3, 2)]
    mechanisms = [
        Mechanism(1.0, 0.05, 10, "skellam", 12),
        Mechanism(0.9, 0.02, 20),
        Mechanism(1.4, 0.3, 2, "skellam", 5),
    ]
    removed, added = (least_epsilon(exact, 1e-5, added=added) for added in (False, True))
    assert max(removed, added) <= epsilon_prv(mechanisms, 1e-5) <= 1.05 * removed + 0.025
    assert max(removed, added) <= epsilon_rdp(mechanisms, 1e-5)


def test_what_the_gdp_accountant_shows_is_below_the_true_epsilon() -> None:
    # The reason that it is not offered.
    from opacus.accountants import GaussianAccountant

    with pytest.warns(UserWarning, match="can underestimate"):
        limit_theorem = GaussianAccountant()
    limit_theorem.history = [(0.9325, 0.03, 50)]
    shown = limit_theorem.get_epsilon(1e-4)
    assert shown < least_epsilon([gaussian(0.9325, 0.03, 50)], 1e-4, added=False) - 0.1
