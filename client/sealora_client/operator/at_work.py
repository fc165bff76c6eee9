"""`at-work.json`: which stage of which round the site was asked for last, and how long such rounds take here.

It is written at the beginning of each stage, over what was there, and not flushed: after a crash the site is in no
round. A reader that meets it half written knows nothing for that moment.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from sealora_common.config import SMALL, from_json, read_file
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.records.record import FiniteOrNone, WrittenRecord
from sealora_common.round.order import Purpose
from sealora_common.storage.own_files import open_own

AT_WORK: Final = "at-work.json"
"""Its name in a site's directory."""


class AtWork(WrittenRecord):
    """One moment. Times are seconds since the epoch, by this machine's clock."""

    run: str
    recipe: str
    rounds: int
    """The recipe's."""
    round: int
    purpose: Purpose
    stage: str
    """As a message of the server names it, without `query.`."""
    stage_began: float
    round_began: float
    round_seconds: FiniteOrNone = None
    """What a round of this run has taken so far, the other sites' time among it; null in the first one."""

    def round_seconds_left(self, now: float) -> float | None:
        """How long the round will still take; None while nothing tells."""
        if self.round_seconds is None:
            return None
        return max(0.0, self.round_seconds - (now - self.round_began))

    def run_seconds_left(self, now: float) -> float | None:
        """How long the run's training will still take; None while nothing tells, or when none is left."""
        of_round = self.round_seconds_left(now)
        if of_round is None or self.round_seconds is None or self.purpose == "evaluate":
            return None
        return of_round + self.round_seconds * max(0, self.rounds - self.round)


def tell_work(directory: Path, at_work: AtWork) -> None:
    """Writes it. That it cannot be written is no reason to stop: whoever needs the disk says that it is full."""
    with suppress(OSError, StorageError), os.fdopen(_opened(directory), "wb") as file:
        file.write(at_work.model_dump_json().encode() + b"\n")


def told_work(directory: Path) -> AtWork | None:
    """What was written last; None if nothing was, or if it cannot be read now."""
    try:
        return from_json(AtWork, read_file(directory / AT_WORK, SMALL.longest))
    except (OSError, UnreadableError):
        return None


def _opened(directory: Path) -> int:
    return open_own(directory / AT_WORK, os.O_WRONLY | os.O_TRUNC)
