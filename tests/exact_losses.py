"""Privacy losses composed here, in both directions: no accountant may come out below them.

An accountant of a few lines that owes nothing to the others. Outcomes are gathered into cells, and losses are
rounded down to a grid: both only lose information (post-processing), so that what comes out is a lower bound of the
true epsilon, to be held against the upper ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ive, ndtr

GRID = 2e-4  # of losses
Masses = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """Probabilities of each outcome of a step without the record, and with it."""

    absent: Masses
    present: Masses
    steps: int


def gaussian(noise: float, rate: float, steps: int, sites: int = 1) -> Segment:
    """A record that is drawn independently at each of `sites` sites, all of which add to one sum."""
    edges = np.linspace(-9 * noise, sites + 9 * noise, 200_001)
    present = sum(weight * cell_masses((edges - count) / noise) for count, weight in enumerate(binomial(rate, sites)))
    return Segment(cell_masses(edges / noise), np.asarray(present), steps)


def binomial(rate: float, sites: int) -> list[float]:
    return [math.comb(sites, count) * rate**count * (1 - rate) ** (sites - count) for count in range(sites + 1)]


def cell_masses(edges: Masses) -> Masses:
    """Normal probabilities between neighbouring edges, exact in both tails."""
    right = edges[:-1] > 0
    return np.where(right, ndtr(-edges[:-1]) - ndtr(-edges[1:]), ndtr(edges[1:]) - ndtr(edges[:-1]))


def skellam(noise: float, units: int, shift: tuple[int, ...], rate: float, steps: int, sites: int = 1) -> Segment:
    """As `gaussian`; the record moves the sum by `shift` for each site that draws it."""
    variance = (noise * units) ** 2
    assert math.hypot(*shift) <= units
    reach = math.ceil(9 * math.sqrt(variance)) + 6
    points = np.arange(-reach, reach + 1 + sites * units)

    def moved(count: int) -> Masses:
        masses = np.ones(1)
        for each in shift:
            masses = np.multiply.outer(masses, ive(abs(points - count * each), variance)).ravel()
        return masses

    present = sum(weight * moved(count) for count, weight in enumerate(binomial(rate, sites)))
    return Segment(moved(0), np.asarray(present), steps)


def least_epsilon(segments: list[Segment], delta: float, *, added: bool) -> float:
    """An epsilon below the true one at `delta`: of a record removed, or added, in all segments alike."""
    grids, lowest = [], 0
    for segment in segments:
        truth, other = (segment.absent, segment.present) if added else (segment.present, segment.absent)
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
