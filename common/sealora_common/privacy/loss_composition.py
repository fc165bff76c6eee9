"""The epsilon of many steps together: their privacy losses added up, as convolutions of probabilities on one grid.

The Fourier transform adds errors of 1e-16 everywhere, where probabilities of 1e-6 and far less are asked for. So each
probability is first weighted by exp(t loss), as for a Chernoff bound: at the t that suits epsilon and delta, the
losses near epsilon become the likely ones, and errors are relative to the probability asked for (exponential tilting,
as for saddle points: Alghamdi et al. 2022, arXiv:2209.10716). The window of losses is chosen so that what falls outside
it weighs 1e-15, and an allowance for rounding is added to delta, so what comes out is an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from sealora_common.privacy.privacy_loss import GRID, LossGrid, SampledStep, Values, loss_grid

LARGEST_EPSILON = 100.0  # above it there is no promise left to tighten

_OUTSIDE = 36.0  # the tilted sum falls outside its window with probability exp(-36) on either side
_ROUNDING = 1e-13  # of all tilted probabilities together, for each step: some hundred times what float64 loses
_TILTS = np.geomspace(0.02, 5000, 60)
_COARSE = 8192  # sums that stand for a loss while a tilt is looked for
_LEAST_TILT = 1e-9
_TRIES = 6
_SMALL = 1e-8  # of delta: an allowance that is not worth trying another tilt for
_SLOPES = tuple(2.0**power for power in range(-16, 5))  # small ones for rare losses a thousand times the spread

Steps = tuple[LossGrid, int]
"""One loss and how often it is taken."""


def epsilon_of_losses(steps: Mapping[SampledStep, int], delta: float) -> float:
    """The larger epsilon of the two directions, a unit removed and added, at `delta`, of all `steps` together.

    Neither direction is known to be the worse one in general (Lebeda, Regehr, Kamath & Steinke 2024, arXiv:2405.20769).

    Args:
        steps: how often each is taken, once or more.
        delta: above 0 and below 1.

    Returns:
        An upper bound, 0 or more; infinity if it is above `LARGEST_EPSILON` or more than delta lies beyond the grid.

    Raises:
        TooFineError: see `privacy_loss.loss_grid`.
    """
    return max(_one_direction(steps, delta, added=added) for added in (False, True))


def _one_direction(steps: Mapping[SampledStep, int], delta: float, *, added: bool) -> float:
    grids = [(loss_grid(step, added=added), count) for step, count in sorted(steps.items())]
    left = delta - sum(count * grid.beyond for grid, count in grids)
    if left <= 0:
        return math.inf
    tilt, bound = _best_tilt(grids, left)
    if bound > LARGEST_EPSILON:
        return math.inf
    best, tries = math.inf, _TRIES
    while tries and tilt > _LEAST_TILT:
        found = _epsilon_at(tilt, grids, left)
        if found is not None:
            epsilon, allowance = found
            best, tries = min(best, epsilon), tries - 1
            if allowance <= _SMALL * (1 + tilt) * left:
                break
        tilt /= 2  # the losses that were made likely lie above epsilon, as they may where losses have a largest value
    return best


def _epsilon_at(tilt: float, grids: Sequence[Steps], delta: float) -> tuple[float, float] | None:
    """The epsilon at `delta`, read from the losses weighted by `tilt`, and the allowance for rounding in delta there.

    None if all those losses lie above it; infinity if no smaller tilt would do better, as the allowance alone exceeds
    delta at the largest of them.
    """
    tilted, log_moment = [], 0.0
    for grid, count in grids:
        moment = _log_moment(grid, tilt)
        log_moment += count * moment
        tilted.append((LossGrid(grid.first, grid.masses * np.exp(tilt * grid.losses - moment), 0.0), count))
    first, masses = _convolved(tilted)
    if first + len(masses) <= 0:
        return 0.0, 0.0  # even the largest losses that count are below 0
    kept = max(0, -first)
    losses, masses = (first + np.arange(kept, len(masses))) * GRID, masses[kept:]
    with np.errstate(over="ignore", invalid="ignore"):  # far below epsilon, where nothing is read
        back = np.exp(log_moment - tilt * losses)
        slack = _ROUNDING * (100 + sum(count for _, count in grids)) * back
        above = np.cumsum((masses * back)[::-1])[::-1]
        others = np.cumsum((masses * back * np.exp(-losses))[::-1])[::-1]
        exceeding = np.flatnonzero(above - np.exp(losses) * others + slack > delta)
    if len(exceeding) == 0:
        return (0.0, 0.0) if first <= 0 else None
    last = int(exceeding[-1])
    if last + 1 == len(losses):
        return math.inf, 0.0
    # Between two points delta falls as above - exp(epsilon) others, both taken at the upper one.
    epsilon, rest = float(losses[last + 1]), above[last + 1] + slack[last] - delta
    if rest > 0 and others[last + 1] > 0:
        epsilon = min(epsilon, math.log(rest) - math.log(others[last + 1]))
    return epsilon, float(slack[last])


def _best_tilt(grids: Sequence[Steps], delta: float) -> tuple[float, float]:
    """The t at which E exp(t loss) bounds epsilon best, or nearly so (any would be sound), and roughly that bound.

    delta is the mean of (1 - exp(epsilon - loss))+, which is at most exp(t (loss - epsilon)) t^t / (1 + t)^(1 + t).
    Its logarithm, epsilon apart, is a convex function of t that begins at 0, so that bound falls and then rises.
    """
    sums = []
    for grid, count in grids:
        starts = np.arange(0, len(grid.masses), 1 + len(grid.masses) // _COARSE)
        masses = np.add.reduceat(grid.masses, starts)
        losses = np.add.reduceat(grid.masses * grid.losses, starts) / np.maximum(masses, 1e-300)
        sums.append((masses, losses, count))

    @cache
    def bound(place: int) -> float:
        tilt = float(_TILTS[place])
        own = tilt * math.log(tilt) - (1 + tilt) * math.log1p(tilt) - math.log(delta)
        return (own + sum(count * _log_sum(masses, tilt * losses) for masses, losses, count in sums)) / tilt

    best = _lowest(bound, len(_TILTS))
    return float(_TILTS[best]), bound(best)


def _lowest(function: Callable[[int], float], size: int) -> int:
    """Where a function of 0 to `size` - 1 that falls and then rises is lowest."""
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) // 2
        if function(middle) <= function(middle + 1):
            high = middle
        else:
            low = middle + 1
    return low


def _convolved(grids: Sequence[Steps]) -> tuple[int, Values]:
    """Probabilities of the sum of all losses from the first of them on, in a window that nearly all of it is in."""
    from scipy.fft import irfft, next_fast_len, rfft

    low, high = _window(grids)
    size = int(next_fast_len(high - low + 2, real=True))
    transform = np.ones(size // 2 + 1, dtype=np.complex128)
    for grid, count in grids:
        padded = np.zeros(-(-len(grid.masses) // size) * size)
        padded[: len(grid.masses)] = grid.masses
        transform *= rfft(padded.reshape(-1, size).sum(axis=0)) ** count
    start = sum(count * grid.first for grid, count in grids)
    return low, np.roll(irfft(transform, size), (start - low) % size)


def _window(grids: Sequence[Steps]) -> tuple[int, int]:
    """Chernoff bounds on the sum of all losses, below and above, in units of GRID."""
    spread = math.sqrt(sum(count * grid.spread**2 for grid, count in grids))
    slopes = [slope / spread for slope in _SLOPES]

    def reach(sign: float) -> float:
        @cache
        def bound(place: int) -> float:
            slope = slopes[place]
            moments = sum(count * _log_moment(grid, sign * slope) for grid, count in grids)
            return float(moments + _OUTSIDE) / slope

        return bound(_lowest(bound, len(slopes)))

    return math.floor(-reach(-1.0) / GRID), math.ceil(reach(1.0) / GRID)


def _log_moment(grid: LossGrid, tilt: float) -> float:
    """log E exp(tilt loss)."""
    return _log_sum(grid.masses, tilt * grid.losses)


def _log_sum(masses: Values, exponents: Values) -> float:
    """log(sum(masses exp(exponents)))."""
    peak = float(exponents[masses > 0].max())
    # No dot product: BLAS would sum in an order of its own, by as many threads as there are cores.
    scaled = float((masses * np.exp(np.minimum(exponents - peak, 0.0))).sum())
    return peak + math.log(scaled)
