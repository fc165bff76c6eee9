"""The line in which runs wait: a site is in one run at a time, and the run that was submitted first is done first.

A run waits for those that are under way, and for those before it in line, as far as they have a site in common: two
consortia on one server do not wait for each other. Where a run stands is a number in its `operation.json`, so the order
is the same after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """A run that is under way or in line.

    Attributes:
        name: of the run.
        sites: its roster's.
        place: in line, the smallest first; 0 if it is under way.
    """

    name: str
    sites: frozenset[str]
    place: int = 0


def ahead_of(sites: frozenset[str], runs: Iterable[Wanted], place: int | None = None) -> tuple[str, ...]:
    """The runs that one among these sites waits for, in the order in which they will be done.

    Args:
        sites: of the run that would begin.
        runs: all that are under way or in line.
        place: where it stands in line itself; None: behind all.
    """
    before = [run for run in runs if (place is None or run.place < place) and run.sites & sites]
    return tuple(run.name for run in sorted(before, key=lambda run: run.place))


def next_place(runs: Iterable[Wanted]) -> int:
    """The place behind all that are in line."""
    return max((run.place for run in runs), default=0) + 1


def ready_to_begin(runs: Iterable[Wanted]) -> list[str]:
    """The runs in line that wait for nobody any more, the first in line first."""
    known = list(runs)
    queued = sorted((run for run in known if run.place), key=lambda run: run.place)
    return [run.name for run in queued if not ahead_of(run.sites, known, run.place)]
