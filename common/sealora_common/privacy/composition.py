"""The epsilon of many noisy steps together, by Rényi orders (RDP) and by privacy-loss distributions (PRV)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sealora_common.errors import BudgetError
from sealora_common.privacy.gaussian import gaussian_step
from sealora_common.privacy.mechanism import Mechanism
from sealora_common.privacy.prv import prv_epsilon
from sealora_common.privacy.renyi import ORDERS, epsilon_of_rdp, quietly
from sealora_common.privacy.skellam import gaussian_equivalent

_PRV_LARGEST_EPSILON = 100.0  # above it PRV's grid no longer fits in memory, and no promise is left to tighten


def epsilon_rdp(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """The epsilon, at `delta`, of all `mechanisms` together, by Rényi composition over `ORDERS`.

    Gaussian and Skellam segments compose in one sum (`sealora_common.privacy.skellam`).

    Returns:
        An upper bound, 0 for no mechanisms, infinity if any of them adds no noise.

    Raises:
        BudgetError: delta is not between 0 and 1.
    """
    require_delta(delta)
    segments = _merged(mechanisms)
    if not segments:
        return 0.0
    if any(segment.noise_multiplier == 0 for segment in segments):
        return math.inf
    total = np.zeros(len(ORDERS))
    for segment in segments:
        total += segment.steps * gaussian_step(segment.noise_multiplier, segment.sample_rate)
    return epsilon_of_rdp(total, delta)


def epsilon_prv(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """The epsilon, at `delta`, of all `mechanisms` together, by numerical composition of privacy losses.

    PRV's bound includes its own numerical error (0.01 in epsilon, delta / 1000 in delta). Where RDP's bound is
    smaller (very small budgets), or PRV cannot be computed (epsilon above 100), RDP's is returned: the smaller of
    two upper bounds is one. Skellam segments count as their Gaussian equivalents, as in `epsilon_rdp`.

    Returns:
        An upper bound, 0 for no mechanisms, infinity if any of them adds no noise.

    Raises:
        BudgetError: delta is not between 0 and 1.
    """
    bound = epsilon_rdp(mechanisms, delta)
    if bound == 0 or bound > _PRV_LARGEST_EPSILON:
        return bound
    with quietly():
        try:
            epsilon = prv_epsilon(_merged(mechanisms), delta)
        except (RuntimeError, ValueError, MemoryError):  # its grid is too coarse or too large for these values
            return bound
    return max(0.0, min(bound, epsilon)) if math.isfinite(epsilon) else bound


def require_delta(delta: float) -> None:
    """Refuses a delta that is no probability between 0 and 1.

    Raises:
        BudgetError: it is 0 or less, 1 or more, or not a number.
    """
    if not 0 < delta < 1:
        raise BudgetError(f"privacy.delta is {delta}: it must be above 0 and below 1")


def _merged(mechanisms: Sequence[Mechanism]) -> list[Mechanism]:
    """Gaussian segments that cost at least as much: those alike in all but steps joined, free ones left out."""
    steps: dict[tuple[float, float], int] = {}
    for mechanism in mechanisms:
        if not mechanism.is_free:
            noise = mechanism.noise_multiplier
            if mechanism.noise == "skellam":
                noise = gaussian_equivalent(noise, mechanism.units)
            steps[noise, mechanism.sample_rate] = steps.get((noise, mechanism.sample_rate), 0) + mechanism.steps
    return [Mechanism(noise, rate, count) for (noise, rate), count in steps.items()]
