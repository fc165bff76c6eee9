"""The limit: whether one more charge fits under it, how many would, and the sentence that refuses one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import Mechanism, epsilon_pld

TOLERANCE = 1e-9  # of epsilon: a run calibrated to its budget must not fail on its last round by a rounding
_MANY = 1_000_000  # rounds or steps beyond which counting further tells nobody anything


def require_room(
    what: str, spent: Sequence[Mechanism], mechanism: Mechanism, delta: float, epsilon_limit: float
) -> float:
    """The epsilon of `spent` and `mechanism` together, if that is within the limit.

    Raises:
        BudgetError: it is not; says how much is spent, what `what` may spend, and how much of the order still fits.
    """
    after = epsilon_pld([*spent, mechanism], delta)
    if after <= epsilon_limit + TOLERANCE:
        return after
    before = epsilon_pld(spent, delta)
    alone = epsilon_pld([mechanism], delta)
    fitting = repeats_that_fit(spent, replace(mechanism, steps=1), delta, epsilon_limit, most=mechanism.steps)
    raise BudgetError(
        f"{what} has spent epsilon {before:.4g} of {epsilon_limit:.4g} at delta {delta:.2g}, and this "
        f"round (noise multiplier {mechanism.noise_multiplier:.4g}, sample rate {mechanism.sample_rate:.4g}, "
        f"{mechanism.steps} steps; epsilon {alone:.4g} by itself) would bring it to {after:.4g}: no round of this kind "
        f"fits any more ({fitting} of its {mechanism.steps} steps would); order more noise or fewer steps, or raise "
        "the limit (the site's policy for a data set, privacy.epsilon or privacy.spare_rounds for a run)"
    )


def repeats_that_fit(
    spent: Sequence[Mechanism], mechanism: Mechanism, delta: float, epsilon_limit: float, most: int = _MANY
) -> int:
    """How often `mechanism` can still be composed with what is spent, at most `most` times."""

    def fits(repeats: int) -> bool:
        more = replace(mechanism, steps=mechanism.steps * repeats)
        return epsilon_pld([*spent, more], delta) <= epsilon_limit + TOLERANCE

    low, high = 0, 1  # fits(low) holds throughout, and costs only grow with repeats
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
