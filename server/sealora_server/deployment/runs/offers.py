"""When the adapter of a run that is over is offered to sites that lack it: as one connects, then ever less often.

A site that connects again is offered it again, and however often it does, no more than once a minute: each offer is a
process and goes to all that lack it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sealora_common.errors import SealoraError
from sealora_common.roster import Roster
from sealora_server.delivery.final_adapter import FinalAdapter
from sealora_server.run.store import RunStore

_FIRST_PAUSE = 60.0
_LONGEST_PAUSE = 24 * 3600.0


class Offers:
    """Of one run.

    Args:
        directory: the run's.
        now: seconds on a clock that only goes forward.
    """

    def __init__(self, directory: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._now = now
        self._lacking: frozenset[str] | None = None
        self._offered: dict[str, str] = {}
        self._next = 0.0
        self.made_at = -math.inf
        """When it was last offered; a finished run that waited longer comes first."""
        self._pause = _FIRST_PAUSE

    def is_due(self, online: Mapping[str, str]) -> bool:
        """Whether to offer it now.

        Args:
            online: connected site -> when its session began.
        """
        if self._lacking is None:
            self._lacking = _lacking(self._directory)
        there = {site: since for site, since in online.items() if site in self._lacking}
        if there.keys() - self._offered.keys():
            return True
        has_come_again = not there.items() <= self._offered.items()
        due = min(self._next, self.made_at + _FIRST_PAUSE) if has_come_again else self._next
        return bool(there) and self._now() >= due

    def made(self, online: Mapping[str, str]) -> None:
        """An offer was made, whatever came of it."""
        came = not online.items() <= self._offered.items()
        self._offered |= online
        self._pause = _FIRST_PAUSE if came else min(_LONGEST_PAUSE, 2 * self._pause)
        self.made_at = self._now()
        self._next = self.made_at + self._pause
        self._lacking = None


def _lacking(directory: Path) -> frozenset[str]:
    """The sites that lack the adapter, of a run that has one to offer."""
    try:
        final = FinalAdapter(RunStore.open(directory))
        if not final.is_deliverable:
            return frozenset()
        return frozenset(Roster.load(directory / "roster.json").names) - final.delivered
    except SealoraError:  # it is said by whoever opens the run
        return frozenset()
