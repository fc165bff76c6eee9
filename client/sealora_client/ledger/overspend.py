"""The limit: whether one more charge fits under it, how many would, and the sentence that refuses one that does not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sealora_client.ledger.state import ChargeRow
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld

TOLERANCE = 1e-9  # of epsilon: a run calibrated to its budget must not fail on its last round by a rounding
_MANY = 1_000_000  # rounds or steps beyond which counting further tells nobody anything


@dataclass(frozen=True)
class Limits:
    """What one charge must stay within.

    Attributes:
        dataset: the data set, as a refusal names it.
        epsilon: most that may count against the data set.
        run: the run's identity.
        run_epsilon: most that the run's own charges may cost.
        delta: at which both are meant.
    """

    dataset: str
    epsilon: float
    run: str
    run_epsilon: float
    delta: float

    def make_room(self, rows: Sequence[ChargeRow], event: PrivacyEvent) -> tuple[float, list[ChargeRow]]:
        """What is spent with the charge, and which unused charges among `rows` must be voided for it, oldest first.

        Args:
            rows: all charges that count against the data set.
            event: what is to be charged.

        Raises:
            BudgetError: there is no room, even without the unused ones.
        """
        unused = [row for row in rows if row.is_unused]

        def counted(voided: int) -> list[ChargeRow]:
            gone = {row.id for row in unused[:voided]}
            return [row for row in rows if row.id not in gone]

        # Costs only fall as charges go, and there may be hundreds: the least number is searched for, not counted up to.
        enough = bisect_left(range(len(unused)), True, key=lambda voided: self._fits(counted(voided), event))
        spent, of_run = self._mechanisms(counted(enough))
        after = require_room(self.dataset, spent, event, self.delta, self.epsilon)
        require_room(f"run {self.run[:12]}", of_run, event, self.delta, self.run_epsilon)
        return after, unused[:enough]

    def _fits(self, rows: Sequence[ChargeRow], event: PrivacyEvent) -> bool:
        spent, of_run = self._mechanisms(rows)
        return all(
            epsilon_pld([*earlier, event], self.delta) <= limit + TOLERANCE
            for earlier, limit in ((spent, self.epsilon), (of_run, self.run_epsilon))
        )

    def _mechanisms(self, rows: Sequence[ChargeRow]) -> tuple[list[PrivacyEvent], list[PrivacyEvent]]:
        """Of all rows, and of the run's own."""
        return [row.event for row in rows], [row.event for row in rows if row.run == self.run]


def require_room(
    what: str, spent: Sequence[PrivacyEvent], event: PrivacyEvent, delta: float, epsilon_limit: float
) -> float:
    """The epsilon of `spent` and `event` together, if that is within the limit.

    Raises:
        BudgetError: it is not; says how much is spent, what `what` may spend, and how much of the order still fits.
    """
    after = epsilon_pld([*spent, event], delta)
    if after <= epsilon_limit + TOLERANCE:
        return after
    before = epsilon_pld(spent, delta)
    alone = epsilon_pld([event], delta)
    fitting = repeats_that_fit(spent, replace(event, steps=1), delta, epsilon_limit, most=event.steps)
    raise BudgetError(
        f"{what} has spent epsilon {before:.4g} of {epsilon_limit:.4g} at delta {delta:.2g}, and this "
        f"round (noise multiplier {event.noise_multiplier:.4g}, sample rate {event.sample_rate:.4g}, "
        f"{event.steps} steps; epsilon {alone:.4g} by itself) would bring it to {after:.4g}: no round of this kind "
        f"fits any more ({fitting} of its {event.steps} steps would); order more noise or fewer steps, or raise "
        "the limit (the site's policy for a data set, privacy.epsilon or privacy.spare_rounds for a run)"
    )


def repeats_that_fit(
    spent: Sequence[PrivacyEvent], event: PrivacyEvent, delta: float, epsilon_limit: float, most: int = _MANY
) -> int:
    """How often `event` can still be composed with what is spent, at most `most` times."""

    def fits(repeats: int) -> bool:
        more = replace(event, steps=event.steps * repeats)
        return epsilon_pld([*spent, more], delta) <= epsilon_limit + TOLERANCE

    low, high = 0, 1  # fits(low) holds throughout, and costs only grow with repeats
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
