"""The noise a budget buys, and the delta a data set permits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from sealora_common.errors import BudgetError
from sealora_common.privacy.composition import epsilon_pld, epsilon_rdp, require_delta
from sealora_common.privacy.event import Noise, PrivacyEvent

Accountant = Literal["pld", "rdp"]

HEADROOM = 1e-5
"""Share of a limit that plans leave free. Rounding errors stay far below it, so that no part of what was planned, or
admitted, as a whole is refused when its turn comes."""

_ACCOUNTANTS: dict[str, Callable[[Sequence[PrivacyEvent], float], float]] = {"pld": epsilon_pld, "rdp": epsilon_rdp}
_NOISE_GRID = 10_000  # noise multipliers are calibrated in units of 1e-4
_LARGEST_NOISE = 1_000_000 * _NOISE_GRID


def calibrate_noise(
    epsilon: float,
    delta: float,
    sample_rate: float,
    steps: int,
    accountant: Accountant = "pld",
    noise: Noise = "gaussian",
    grid_steps: int = 0,
) -> float:
    """The smallest noise multiplier, in whole units of 1e-4, whose cost at `delta` leaves `HEADROOM` of `epsilon`.

    Args:
        epsilon: the budget of all `steps` together, above 0.
        delta: above 0 and below 1.
        sample_rate: Poisson sampling rate q.
        steps: DP-SGD steps.
        accountant: `pld`, which budgets are enforced with, or `rdp`.
        noise: `gaussian` or `skellam`.
        grid_steps: Skellam only: the L2 sensitivity in steps of the integer grid (see `PrivacyEvent`).

    Raises:
        BudgetError: no noise multiplier reaches the budget, or a value is out of range.
    """
    if accountant not in _ACCOUNTANTS:
        raise BudgetError(f"accountant is {accountant!r}: it must be one of {', '.join(_ACCOUNTANTS)}")

    def cost(grid_units: int) -> float:
        event = PrivacyEvent(grid_units / _NOISE_GRID, sample_rate, steps, noise, grid_steps)
        return _ACCOUNTANTS[accountant]([event], delta)

    if not epsilon > 0:
        raise BudgetError(f"privacy.epsilon is {epsilon}: it must be above 0")
    if PrivacyEvent(1.0, sample_rate, steps, noise, grid_steps).is_free:
        return 0.0
    budget = epsilon * (1 - HEADROOM)
    too_little, excess, enough = 0, math.inf, _NOISE_GRID
    while (shown := cost(enough)) > budget:
        too_little, excess = enough, shown
        enough *= 2
        if enough > _LARGEST_NOISE:
            raise BudgetError(
                f"no amount of noise gives privacy.epsilon {epsilon} at privacy.delta {delta} over {steps} steps at "
                f"sample_rate {sample_rate} (the accountant shows {shown:.2g} at best): raise epsilon or delta"
            )
    while enough - too_little > 1:
        middle = _between((too_little, excess), (enough, shown), budget)
        if (found := cost(middle)) <= budget:
            enough, shown = middle, found
        else:
            too_little, excess = middle, found
    return enough / _NOISE_GRID


def _between(low: tuple[int, float], high: tuple[int, float], budget: float) -> int:
    """A noise multiplier between two, in grid units, to be tried next: where a power law through both costs would
    meet the budget, a little past it towards the farther end, so that both ends close in."""
    (least, excess), (most, cost) = low, high
    guess = (least + most) // 2
    if least > 0 and cost > 0 and excess < math.inf and most < 2 * least:
        exponent = math.log(excess / budget) / math.log(excess / cost)
        guess = round(least * (most / least) ** exponent)
        guess += max(1, (most - least) // 50) * (1 if guess - least < most - guess else -1)
    return min(max(guess, least + 1), most - 1)


def check_delta(delta: float, records: int) -> None:
    """Refuses a delta that would permit publishing a record outright: it must be below 1 / `records`.

    Raises:
        BudgetError: delta is not between 0 and 1 / records.
    """
    require_delta(delta)
    if records < 1:
        raise BudgetError(f"there are {records} training records: at least one is needed")
    if delta * records >= 1:
        raise BudgetError(
            f"privacy.delta is {delta} but must be below 1 / {records} = {1 / records:.3g} for {records} training "
            f"records: set it to {sound_delta(records):g} or less"
        )


def sound_delta(records: int) -> float:
    """The largest power of ten that is no more than half of 1 / `records`: as a delta it publishes nobody outright.

    Args:
        records: units of privacy, at least one.
    """
    return float(f"1e{math.floor(math.log10(0.5 / records))}")
