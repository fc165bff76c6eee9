"""A run directory as typed figures: the sites' own histories, the federation's curve, the completions.

Per-site figures are read from the sites' own files, which only a simulation has: the server of a deployed run
never learns them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError, field_validator

from sealora_common.config import LINE, json_value, read_file
from sealora_common.errors import UnreadableError
from sealora_common.records.events import (
    Attendance,
    EvaluationFinished,
    Recorded,
    RoundFinished,
    RunStarted,
    SiteReplied,
    SitesReady,
)
from sealora_common.records.json_lines import JsonLinesTail

Curve = tuple[tuple[int, float], ...]
"""Points (rounds trained, held-out loss); the point at 0 is the adapter nobody has trained yet."""


class SiteRound(BaseModel):
    """One line of a site's `history.jsonl`: what the site measured and spent in one round."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    round: int
    kind: Literal["train", "evaluate"]
    heldout_loss: FiniteFloat | None = None
    """Mean over response tokens, of the adapter that came into the round."""
    epsilon: FiniteFloat | None = None
    """Spent by this run up to and including this round."""
    delta: FiniteFloat | None = None
    records: int | None = None
    heldout_records: int | None = None
    truncated: int | None = None
    bytes_up: int = 0
    """This round's."""
    bytes_down: int = 0
    seconds: float | None = None
    fraction_clipped: FiniteFloat | None = None
    median_norm: FiniteFloat | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _not_a_number_is_missing(cls, value: object) -> object:
        return None if isinstance(value, float) and value - value != 0 else value


@dataclass(frozen=True, slots=True)
class SiteHistory:
    """All of one site's rounds so far, in the order it lived them (an aborted round may appear twice)."""

    name: str
    rounds: tuple[SiteRound, ...]

    @property
    def losses(self) -> Curve:
        """Held-out loss by rounds trained."""
        return _curve({line.round - 1: line.heldout_loss for line in self.rounds})

    @property
    def epsilons(self) -> Curve:
        """Epsilon spent by rounds trained."""
        return _curve({line.round: line.epsilon for line in self.rounds if line.kind == "train"})

    def latest(self, field: str) -> Any:
        """The newest value of `field` that is not missing."""
        values = (getattr(line, field) for line in reversed(self.rounds))
        return next((value for value in values if value is not None), None)


class HistoryTails:
    """Follows the histories of all sites of a run while they are being written."""

    def __init__(self, run_dir: Path) -> None:
        self._sites_dir = run_dir / "sites"
        self._tails: dict[str, JsonLinesTail] = {}
        self._lines: dict[str, list[SiteRound]] = {}

    def read(self) -> dict[str, SiteHistory]:
        """Every site's history so far, by name. Empty where there are no site files (a deployed run)."""
        for path in sorted(self._sites_dir.glob("*/history.jsonl")):
            self._tails.setdefault(path.parent.name, JsonLinesTail(path))
        for name, tail in self._tails.items():
            self._lines.setdefault(name, []).extend(_site_rounds(tail.read()))
        return {name: SiteHistory(name, tuple(lines)) for name, lines in self._lines.items() if lines}


class Completion(BaseModel):
    """The model's answer to one held-out prompt before and after the run."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    site: str
    prompt: str
    reference: str
    before: str
    after: str


def read_histories(run_dir: Path) -> dict[str, SiteHistory]:
    """Every site's own history by name; empty where the run directory holds no site files."""
    return HistoryTails(run_dir).read()


def read_completions(run_dir: Path) -> tuple[Completion, ...]:
    """The run's example completions; none where the file is missing or unreadable."""
    try:
        found = json_value(read_file(run_dir / "completions.json", LINE.longest))
        return tuple(Completion.model_validate(item) for item in found) if isinstance(found, list) else ()
    except (OSError, UnreadableError, ValidationError):
        return ()


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
    return _curve(points)


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


def _site_rounds(lines: list[dict[str, Any]]) -> list[SiteRound]:
    rounds = []
    for line in lines:
        try:
            rounds.append(SiteRound.model_validate(line))
        except ValidationError:  # written by a newer version, or cut by a crash: the others still count
            continue
    return rounds


def _curve(points: Mapping[int, float | None]) -> Curve:
    return tuple((trained, value) for trained, value in sorted(points.items()) if value is not None)
