"""The epsilon of many noisy steps together, by privacy-loss distributions (PLD) and by Rényi orders (RDP)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from sealora_common.errors import BudgetError
from sealora_common.privacy.event import PrivacyEvent
from sealora_common.privacy.gaussian import gaussian_step
from sealora_common.privacy.loss_composition import LARGEST_EPSILON, epsilon_of_losses
from sealora_common.privacy.privacy_loss import GRID, SampledStep, TooFineError, loss_grid
from sealora_common.privacy.renyi import ORDERS, epsilon_of_rdp
from sealora_common.privacy.skellam import gaussian_equivalent

_COARSE = 4 * GRID  # losses that spread over less lose some of their tightness to the grid


def epsilon_pld(events: Sequence[PrivacyEvent], delta: float) -> float:
    """The epsilon, at `delta`, of all `events` together, by composing privacy losses: the one that is enforced.

    A unit removed and a unit added, whichever costs more. Skellam segments count as the Gaussian ones they are never
    worse than (`sealora_common.privacy.skellam`). RDP is asked too where its bound may be smaller: where the losses of
    a step spread over less than a few points of the grid (noise so large that thousands of steps cost a tenth), and
    where they cannot be composed (above 100). The smaller of two upper bounds is one.

    Leaving events out never makes it larger, but for rounding errors far below `calibration.HEADROOM`: the grid
    of losses is the same for all (`sealora_common.privacy.privacy_loss`). So any part of what fits under a limit fits.

    Returns:
        An upper bound, 0 for no events, infinity if any of them adds no noise.

    Raises:
        BudgetError: delta is not between 0 and 1.
    """
    require_delta(delta)
    return _pld(tuple(sorted(merged_steps(events).items())), delta)


def epsilon_rdp(events: Sequence[PrivacyEvent], delta: float) -> float:
    """The epsilon, at `delta`, of all `events` together, by Rényi composition over `ORDERS`: a cross-check.

    Returns:
        An upper bound, 0 for no events, infinity if any of them adds no noise.

    Raises:
        BudgetError: delta is not between 0 and 1.
    """
    require_delta(delta)
    return _rdp(merged_steps(events), delta)


def require_delta(delta: float) -> None:
    """Refuses a delta that is no probability between 0 and 1.

    Raises:
        BudgetError: it is 0 or less, 1 or more, or not a number.
    """
    if not 0 < delta < 1:
        raise BudgetError(f"privacy.delta is {delta}: it must be above 0 and below 1")


def merged_steps(events: Sequence[PrivacyEvent]) -> dict[SampledStep, int]:
    """Gaussian steps that cost at least as much, and how many of each: those alike joined, free ones left out."""
    steps: dict[SampledStep, int] = {}
    for event in events:
        if not event.is_free:
            noise = event.noise_multiplier
            if event.noise == "skellam":
                noise = gaussian_equivalent(noise, event.grid_steps)
            step = SampledStep(noise, event.sample_rate)
            steps[step] = steps.get(step, 0) + event.steps
    return steps


@lru_cache(maxsize=4096)  # a round asks what the round before it asked, and versions of growing data alike
def _pld(steps: tuple[tuple[SampledStep, int], ...], delta: float) -> float:
    if any(step.noise_multiplier == 0 for step, _ in steps):
        return math.inf
    try:
        epsilon = epsilon_of_losses(dict(steps), delta) if steps else 0.0
    except TooFineError:
        epsilon = math.inf
    if epsilon <= LARGEST_EPSILON and not any(_is_coarse(step) for step, _ in steps):
        return epsilon  # RDP's is at least four hundredths larger
    return min(epsilon, _rdp(dict(steps), delta))


@lru_cache(maxsize=4096)
def _is_coarse(step: SampledStep) -> bool:
    return loss_grid(step, added=False).spread < _COARSE


def _rdp(steps: Mapping[SampledStep, int], delta: float) -> float:
    if not steps:
        return 0.0
    if any(step.noise_multiplier == 0 for step in steps):
        return math.inf
    total = np.zeros(len(ORDERS))
    for step, count in steps.items():
        total += count * gaussian_step(step.noise_multiplier, step.sample_rate)
    return epsilon_of_rdp(total, delta)
