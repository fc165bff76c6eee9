"""The privacy cost of DP-SGD: Poisson-subsampled Gaussian mechanisms, composed exactly over segments.

Two accountants, both from Opacus's analysis and both upper bounds. RDP (Mironov, Talwar & Zhang 2019,
arXiv:1908.10530, sec. 3.3; converted by Balle et al. 2020, arXiv:1905.09982, Thm 21) is what budgets are
enforced with: it is fast, and proven for adding as well as removing a record. PRV (Gopi, Lee & Wutschitz 2021,
arXiv:2106.02848) is tighter and slower, for reports. The GDP accountant is a limit theorem, not a bound
(1.62 where PRV proves 1.84 for the example below), so it is not offered.

>>> thousand_steps = Mechanism(noise_multiplier=1.0, sample_rate=0.01, steps=1000)
>>> round(epsilon_rdp([thousand_steps], delta=1e-5), 3)
2.101
>>> round(epsilon_prv([thousand_steps], delta=1e-5), 2)
1.84
>>> calibrate_noise(epsilon=2.0, delta=1e-5, sample_rate=0.01, steps=1000)
1.0223

Neighbouring data sets differ by one record added or removed. Opacus brings torch with it, so it is imported
when a cost is first asked for: the aggregation server, which never asks, needs neither.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sealora_common.errors import BudgetError

Accountant = Literal["rdp", "prv"]

ORDERS: tuple[float, ...] = (
    1.01,
    1.025,
    1.05,
    *(1 + tenths / 10 for tenths in range(1, 100)),
    *(float(order) for order in range(11, 65)),
    *(float(order) for order in (72, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024)),
)
"""Rényi orders over which epsilon is minimised: low ones serve large epsilons, high ones small epsilons."""

_NOISE_GRID = 10_000  # noise multipliers are calibrated in units of 1e-4
_LARGEST_NOISE = 1_000_000 * _NOISE_GRID
_SERIES_NOISE = (0.01, 1000.0)  # outside it the series lose their digits, or take seconds to converge
_SERIES_ROUNDING = 1e-12  # what summing in double precision may hide, in one step's divergence
_PRV_LARGEST_EPSILON = 100.0  # above it PRV's grid no longer fits in memory, and no promise is left to tighten


@dataclass(frozen=True)
class Mechanism:
    """`steps` releases of a clipped sum over a Poisson sample, each with Gaussian noise.

    Attributes:
        noise_multiplier: sigma, the noise's standard deviation divided by the clipping norm; 0 is no privacy.
        sample_rate: q, each record's independent probability of joining a step, 0 to 1.
        steps: number of releases.

    Raises:
        BudgetError: a value is out of range.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise BudgetError(f"noise_multiplier is {self.noise_multiplier}: it must be a finite number, 0 or more")
        if not 0 <= self.sample_rate <= 1:
            raise BudgetError(f"sample_rate is {self.sample_rate}: it must be a probability from 0 to 1")
        if self.steps < 0:
            raise BudgetError(f"steps is {self.steps}: it must be 0 or more")

    @property
    def is_free(self) -> bool:
        """Whether it releases nothing about any record."""
        return self.steps == 0 or self.sample_rate == 0


def epsilon_rdp(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """The epsilon, at `delta`, of all `mechanisms` together, by Rényi composition over `ORDERS`.

    Returns:
        An upper bound, 0 for no mechanisms, infinity if any of them adds no noise.

    Raises:
        BudgetError: delta is not between 0 and 1.
    """
    _require_delta(delta)
    segments = _merged(mechanisms)
    if not segments:
        return 0.0
    if any(segment.noise_multiplier == 0 for segment in segments):
        return math.inf
    total = np.zeros(len(ORDERS))
    for segment in segments:
        total += segment.steps * _rdp_of_one_step(segment.noise_multiplier, segment.sample_rate)
    return _epsilon_of_rdp(total, delta)


def epsilon_prv(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """The epsilon, at `delta`, of all `mechanisms` together, by numerical composition of privacy losses.

    PRV's bound includes its own numerical error (0.01 in epsilon, delta / 1000 in delta). Where RDP's bound is
    smaller (very small budgets), or PRV cannot be computed (epsilon above 100), RDP's is returned: the smaller of
    two upper bounds is one.

    Returns:
        An upper bound, 0 for no mechanisms, infinity if any of them adds no noise.

    Raises:
        BudgetError: delta is not between 0 and 1.
    """
    from opacus.accountants import PRVAccountant

    bound = epsilon_rdp(mechanisms, delta)
    if bound == 0 or bound > _PRV_LARGEST_EPSILON:
        return bound
    accountant = PRVAccountant()
    accountant.history = [(s.noise_multiplier, s.sample_rate, s.steps) for s in _merged(mechanisms)]
    with _quietly():
        try:
            epsilon = float(accountant.get_epsilon(delta))
        except (RuntimeError, ValueError, MemoryError):  # its grid is too coarse or too large for these values
            return bound
    return max(0.0, min(bound, epsilon)) if math.isfinite(epsilon) else bound


def calibrate_noise(
    epsilon: float, delta: float, sample_rate: float, steps: int, accountant: Accountant = "rdp"
) -> float:
    """The smallest noise multiplier, in whole units of 1e-4, whose cost is at most `epsilon` at `delta`.

    Args:
        epsilon: the budget of all `steps` together, above 0.
        delta: above 0 and below 1.
        sample_rate: Poisson sampling rate q.
        steps: DP-SGD steps.
        accountant: `rdp`, which budgets are enforced with, or `prv`.

    Raises:
        BudgetError: no noise multiplier reaches the budget, or a value is out of range.
    """
    measure = epsilon_rdp if accountant == "rdp" else epsilon_prv

    def affordable(units: int) -> bool:
        return measure([Mechanism(units / _NOISE_GRID, sample_rate, steps)], delta) <= epsilon

    if not epsilon > 0:
        raise BudgetError(f"privacy.epsilon is {epsilon}: it must be above 0")
    if Mechanism(1.0, sample_rate, steps).is_free:
        return 0.0
    enough = _NOISE_GRID
    while not affordable(enough):
        enough *= 2
        if enough > _LARGEST_NOISE:
            smallest = measure([Mechanism(enough / _NOISE_GRID, sample_rate, steps)], delta)
            raise BudgetError(
                f"no amount of noise gives privacy.epsilon {epsilon} at privacy.delta {delta} over {steps} steps at "
                f"sample_rate {sample_rate} (the accountant shows {smallest:.2g} at best): raise epsilon or delta"
            )
    too_little = 0
    while enough - too_little > 1:
        middle = (enough + too_little) // 2
        if affordable(middle):
            enough = middle
        else:
            too_little = middle
    return enough / _NOISE_GRID


def check_delta(delta: float, records: int) -> None:
    """Refuses a delta that would permit publishing a record outright: it must be below 1 / `records`.

    Raises:
        BudgetError: delta is not between 0 and 1 / records.
    """
    _require_delta(delta)
    if records < 1:
        raise BudgetError(f"there are {records} training records: at least one is needed")
    if delta * records >= 1:
        raise BudgetError(
            f"privacy.delta is {delta} but must be below 1 / {records} = {1 / records:.3g} for {records} training "
            f"records: set it to {10 ** math.floor(math.log10(0.5 / records)):g} or less"
        )


def _merged(mechanisms: Sequence[Mechanism]) -> list[Mechanism]:
    """The same mechanisms, those of equal noise and rate joined into one segment, free ones left out."""
    steps: dict[tuple[float, float], int] = {}
    for mechanism in mechanisms:
        if not mechanism.is_free:
            key = (mechanism.noise_multiplier, mechanism.sample_rate)
            steps[key] = steps.get(key, 0) + mechanism.steps
    return [Mechanism(noise, rate, count) for (noise, rate), count in steps.items()]


@lru_cache(maxsize=4096)
def _rdp_of_one_step(noise_multiplier: float, sample_rate: float) -> NDArray[np.float64]:
    """Rényi divergence of one step at each of `ORDERS`, shape (len(ORDERS),)."""
    from opacus.accountants.analysis.rdp import compute_rdp

    # Sampling never costs more than taking every record does (Mironov et al. 2019, sec. 3), so the plain Gaussian
    # mechanism bounds each order. It stands in where Opacus's series cannot be summed in double precision.
    costs = np.asarray(ORDERS) / (2 * noise_multiplier) / noise_multiplier
    if _SERIES_NOISE[0] <= noise_multiplier <= _SERIES_NOISE[1]:
        for index, order in enumerate(ORDERS):
            with _quietly():
                try:
                    cost = float(compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=order))
                except (ValueError, OverflowError, ZeroDivisionError):
                    continue
            if not math.isnan(cost):
                costs[index] = min(costs[index], max(0.0, cost) + _SERIES_ROUNDING)
    costs.flags.writeable = False  # the cache hands the same array to every caller
    return costs


def _epsilon_of_rdp(rdp: NDArray[np.float64], delta: float) -> float:
    from opacus.accountants.analysis.rdp import get_privacy_spent

    with _quietly():
        epsilon, _ = get_privacy_spent(orders=np.asarray(ORDERS), rdp=rdp, delta=delta)
    return max(0.0, float(epsilon))


def _require_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise BudgetError(f"privacy.delta is {delta}: it must be above 0 and below 1")


@contextmanager
def _quietly() -> Iterator[None]:
    """Silences NumPy's overflow messages and Opacus's advice about orders: results are checked instead."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
