"""How long to wait between two questions to the server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable


class PollInterval:
    """Pauses between polls: a share of the time since the last message, so that no reaction is late by much more.

    A site asks often in the midst of a round, when the next stage is seconds away, and seldom between runs: the
    number of polls grows with the logarithm of the time waited until the longest pause is reached.

    Args:
        shortest: seconds.
        longest: seconds.
        share: of the time since the last message.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        shortest: float = 0.2,
        longest: float = 5.0,
        share: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shortest = shortest
        self._longest = longest
        self._share = share
        self._clock = clock
        self._active = clock()

    def active(self) -> None:
        """Says that a message came just now."""
        self._active = self._clock()

    def pause(self) -> float:
        """Seconds until the next poll."""
        return min(self._longest, max(self._shortest, self._share * (self._clock() - self._active)))


class Backoff:
    """Pauses between attempts: each up to twice as long as the last, bounded, and shortened at random by up to half,
    so that the sites of a server that comes back do not all come at once.

    Args:
        first: seconds.
        longest: seconds.
    """

    def __init__(self, first: float = 0.5, longest: float = 10.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        """Starts anew, after a success."""
        self._next = self._first

    def pause(self) -> float:
        """Seconds until the next attempt."""
        pause = self._next
        self._next = min(self._longest, 2 * pause)
        return pause * (0.5 + secrets.randbelow(1000) / 2000)
