"""A run directory as typed figures: the sites' own histories and the federation's curve.

Per-site figures are read from the sites' own files, which only a simulation has: the server of a deployed run
never learns them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from sealora_common.records.event_log import Recorded
from sealora_common.records.events import (
    Attendance,
    EvaluationFinished,
    RoundFinished,
    RunStarted,
    SiteReplied,
    SitesReady,
)
from sealora_common.records.names import HISTORY, SITES
from sealora_common.records.site_rounds import Curve, SiteHistory, SiteRound, SiteRoundsTail, curve_of


class HistoryTails:
    """Follows the histories of all sites of a run while they are being written."""

    def __init__(self, run_dir: Path) -> None:
        self._sites_dir = run_dir / SITES
        self._tails: dict[str, SiteRoundsTail] = {}
        self._lines: dict[str, list[SiteRound]] = {}

    def read(self) -> dict[str, SiteHistory]:
        """Every site's history so far, by name. Empty where there are no site files (a deployed run)."""
        for path in sorted(self._sites_dir.glob(f"*/{HISTORY}")):
            self._tails.setdefault(path.parent.name, SiteRoundsTail(path))
        for name, tail in self._tails.items():
            self._lines.setdefault(name, []).extend(tail.read())
        return {name: SiteHistory(name, tuple(lines)) for name, lines in self._lines.items() if lines}


def read_histories(run_dir: Path) -> dict[str, SiteHistory]:
    """Every site's own history by name; empty where the run directory holds no site files."""
    return HistoryTails(run_dir).read()


def federation_curve(events: Sequence[Recorded], histories: Mapping[str, SiteHistory]) -> Curve:
    """The mean held-out loss by rounds trained.

    Where every site's own file has a point it is their mean; elsewhere what the opened sum said.
    """
    points: dict[int, float | None] = {}
    for recorded in events:
        match recorded.event:
            case RoundFinished(round=number, heldout_loss=loss):
                points[number - 1] = loss
            case EvaluationFinished(heldout_loss=loss):
                points[rounds_of(events)] = loss
            case _:
                pass
    own = [dict(history.losses) for history in histories.values()]
    if own and set(histories) >= set(site_names(events)):
        for trained in set.intersection(*(set(losses) for losses in own)):
            points[trained] = fmean(losses[trained] for losses in own)
    return curve_of(points)


def rounds_of(events: Sequence[Recorded]) -> int:
    """Rounds of the recipe; 0 before the run has started."""
    started = last_started(events)
    return started.rounds if started else 0


def last_started(events: Sequence[Recorded]) -> RunStarted | None:
    """The newest start: a resumed run has several."""
    starts = (recorded.event for recorded in reversed(events) if isinstance(recorded.event, RunStarted))
    return next(starts, None)


def site_names(events: Sequence[Recorded]) -> tuple[str, ...]:
    """Sites of the run, in the order the server announced them, then any that only appeared by a message."""
    names: dict[str, None] = {}
    for recorded in events:
        match recorded.event:
            case SitesReady(sites=sites):
                names.update(dict.fromkeys(sites))
            case SiteReplied(site=site):
                names.setdefault(site)
            case _:
                pass
    return tuple(names)


def last_attendance(events: Sequence[Recorded]) -> Attendance | None:
    """Who took part and who did not when the server last said so."""
    told = (recorded.event for recorded in reversed(events) if isinstance(recorded.event, Attendance))
    return next(told, None)


def seconds_of(events: Sequence[Recorded]) -> float:
    """Seconds the run was at work: the time between an interruption and the resumption does not count."""
    total = 0.0
    for earlier, later in itertools.pairwise(events):
        if not isinstance(later.event, RunStarted):
            total += max(0.0, later.time - earlier.time)
    return total
