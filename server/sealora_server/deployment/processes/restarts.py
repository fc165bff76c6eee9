"""When a process that died is started again, and when not any more."""

from __future__ import annotations

from dataclasses import dataclass

QUICK_SECONDS = 10.0
"""A process that dies sooner than this after its start did no good."""
_LONGEST_DELAY = 8.0


@dataclass
class RestartPolicy:
    """Doubles the delay with every quick death in a row, and gives up after so many.

    Example:
        >>> policy = RestartPolicy(patience=3)
        >>> [policy.delay_after(1.0), policy.delay_after(1.0), policy.delay_after(1.0)]
        [0.25, 0.5, None]
        >>> policy.delay_after(3600.0)
        0.25
    """

    patience: int = 5
    """Quick deaths in a row after which it gives up."""
    first_delay: float = 0.25
    """Seconds after the first death."""
    quick_deaths: int = 0

    def delay_after(self, seconds_alive: float) -> float | None:
        """Seconds to wait before the next start of a process that lived so long; None to give up."""
        self.quick_deaths = self.quick_deaths + 1 if seconds_alive < QUICK_SECONDS else 0
        if self.quick_deaths >= self.patience:
            return None
        return min(_LONGEST_DELAY, self.first_delay * 2.0 ** max(0, self.quick_deaths - 1))
