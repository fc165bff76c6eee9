"""Where a run stands, folded from its events: what a display draws, without the drawing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from sealora_common.records.event_log import Recorded
from sealora_common.records.events import (
    Attendance,
    EvaluationFinished,
    RoundFinished,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunStarted,
    SiteBlamed,
    SiteFailed,
    SiteReplied,
    Stage,
    StageName,
)

SiteState = Literal["waiting", "working", "answered", "lost", "away"]
"""`away`: connected, and takes no part; `lost`: failed in a stage, and counts again once it answers."""

# Share of a round that is over when the stage begins: training is nearly all of it.
_STAGE_BEGINS: dict[StageName, float] = {
    "train": 0.0,
    "share": 0.85,
    "check": 0.87,
    "disclose": 0.89,
    "mask": 0.90,
    "confirm": 0.93,
    "open": 0.96,
    "evaluate": 0.0,
}
_STAGE_ENDS: dict[StageName, float] = {
    "train": 0.85,
    "share": 0.87,
    "check": 0.89,
    "disclose": 0.90,
    "mask": 0.93,
    "confirm": 0.96,
    "open": 1.0,
    "evaluate": 0.85,
}


@dataclass
class SiteProgress:
    """One site as the server sees it."""

    name: str
    state: SiteState = "waiting"
    bytes_up: int = 0
    bytes_down: int = 0


@dataclass
class RunProgress:
    """A run so far. Feed it events in order with `take`."""

    started: RunStarted | None = None
    sites: dict[str, SiteProgress] = field(default_factory=dict)
    round: int = 0
    stage: StageName | None = None
    rounds_finished: int = 0
    ended: Literal["finished", "failed", "interrupted"] | None = None
    began_at: float | None = None
    """Unix seconds at which this process's part of the run began."""
    stage_began_at: float | None = None
    _round_seconds: list[float] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """Rounds of the recipe; 0 before the run has started."""
        return self.started.rounds if self.started else 0

    @property
    def rounds_done(self) -> float:
        """Rounds done, with the part of the present one that is over."""
        if self.stage is None or self.round > self.rounds or self.rounds_finished >= self.round:
            return float(self.rounds_finished)
        begins, ends = _STAGE_BEGINS[self.stage], _STAGE_ENDS[self.stage]
        answered = sum(site.state == "answered" for site in self.sites.values())
        awaited = sum(site.state in {"answered", "working"} for site in self.sites.values())
        return self.round - 1 + begins + (ends - begins) * (answered / awaited if awaited else 0.0)

    def seconds_left(self, now: float) -> float | None:
        """An estimate from the last rounds' length; None before one round is done.

        Args:
            now: Unix seconds.
        """
        if self.ended or not self._round_seconds:
            return None
        recent = self._round_seconds[-3:]
        length = sum(recent) / len(recent)
        rounds_left = self.rounds - self.rounds_finished
        into_round = now - self.stage_began_at if self.stage_began_at is not None else 0.0
        in_this_round = min(into_round, length) if self.stage == "train" else length * (self.rounds_done % 1)
        return max(0.0, length * rounds_left - in_this_round) if rounds_left else None

    def take(self, entries: Iterable[Recorded]) -> None:
        """Moves on by these events."""
        for recorded in entries:
            self._take(recorded)

    def _take(self, recorded: Recorded) -> None:
        match recorded.event:
            case RunStarted() as started:
                self.started = started
                self.began_at = recorded.time
                self.rounds_finished = started.first_round - 1
                self.round, self.stage, self.ended = started.first_round, None, None
                for site in self.sites.values():
                    site.state = "waiting"
            case Attendance() as attendance:
                self._take_attendance(attendance)
            case Stage(round=number, stage=stage):
                self._begin_stage(number, stage, recorded.time)
            case SiteReplied(site=name) as reply:
                site = self._site(name)
                site.state = "answered"
                site.bytes_up += reply.bytes_up
                site.bytes_down += reply.bytes_down
            case SiteFailed(site=name) | SiteBlamed(site=name):
                self._site(name).state = "lost"
            case RoundFinished() as finished:
                self.rounds_finished = max(self.rounds_finished, finished.round)
                self._round_seconds.append(finished.seconds)
            case EvaluationFinished():
                self.stage = None
            case RunFinished():
                self.ended = "finished"
            case RunFailed():
                self.ended = "failed"
            case RunInterrupted():
                self.ended = "interrupted"
            case _:
                pass

    def _begin_stage(self, number: int, stage: StageName, time: float) -> None:
        self.round, self.stage, self.stage_began_at = number, stage, time
        for site in self.sites.values():
            if site.state not in {"lost", "away"}:  # a lost site counts again once it answers
                site.state = "working"

    def _take_attendance(self, attendance: Attendance) -> None:
        for name in attendance.sites:
            site = self._site(name)
            site.state = "waiting" if site.state == "away" else site.state
        for away in attendance.turned_away:
            self._site(away.name).state = "away"

    def _site(self, name: str) -> SiteProgress:
        return self.sites.setdefault(name, SiteProgress(name))
