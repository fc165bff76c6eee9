"""Where a run is, read from its events: for the operator's status and for the metrics, and of use to nothing else."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from sealora_common.records.event_log import EventTail, Recorded
from sealora_common.records.events import (
    Attendance,
    RoundAborted,
    RoundFinished,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunStarted,
    SiteFailed,
    SiteReplied,
    Stage,
    TurnedAway,
)


@dataclass
class Spent:
    """Seconds spent on something, and how often."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """One more time."""
        self.count += 1
        self.seconds += seconds


@dataclass
class RunProgress:
    """Follows a run's `events.jsonl`. All figures are over the run's whole life, restarts included.

    Attributes:
        rounds: rounds the recipe asks for.
        finished: rounds that are finished.
        aborted: attempts at a round that were given up.
        survivors: sites in the last opened sum.
        failure: why the run failed, if it has since it was last started.
        is_over: whether the run came to its end.
        stages: stage name -> time it took.
        round_time: time the finished rounds took.
        answers: (site, stage) -> time from the server's order to the site's answer.
        bytes_up: site -> bytes of its answers.
        bytes_down: site -> bytes of the orders it was sent and answered.
        failures: (site, stage) -> how often it failed there or did not answer.
        turned_away: sites that are connected and take no part, as the server last told.
    """

    path: Path
    sites: tuple[str, ...]
    """The roster's sites."""
    rounds: int = 0
    finished: int = 0
    aborted: int = 0
    survivors: int = 0
    failure: str = ""
    is_over: bool = False
    stages: dict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))
    round_time: Spent = field(default_factory=Spent)
    answers: dict[tuple[str, str], Spent] = field(default_factory=lambda: defaultdict(Spent))
    bytes_up: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    bytes_down: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    failures: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    turned_away: tuple[TurnedAway, ...] = ()

    def __post_init__(self) -> None:
        self._tail = EventTail(self.path)
        self._stage: Stage | None = None
        self._stage_began = 0.0
        self._asked: set[str] = set()
        self._heard: set[str] = set()
        self._gone: set[str] = set()

    def update(self) -> None:
        """Takes in what was written since the last call."""
        for recorded in self._tail.read():
            self._take(recorded)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """The sites whose answer to the present stage is out."""
        return tuple(sorted(self._asked - self._heard - self._gone)) if self._stage else ()

    @property
    def said(self) -> str:
        """A sentence on where the run is."""
        if self.is_over:
            return f"all {self.rounds} rounds are finished"
        stage = self._stage
        if stage is None:
            return "waits for its sites" if not self.finished else f"between rounds, {self.finished} finished"
        name = f"round {stage.round} of {self.rounds}" if stage.round <= self.rounds else "the final evaluation"
        return f"{name}, stage {stage.stage}: {len(self._heard)} of {stage.sites} sites have answered"

    def _take(self, recorded: Recorded) -> None:
        match recorded.event:
            case RunStarted() as event:
                self.rounds = event.rounds
                self.failure = ""
                self.turned_away = ()
                self.finished = max(self.finished, event.first_round - 1)
                self._leave_stage()
            case Attendance() as event:
                self._asked = set(event.sites)
                self.turned_away = event.turned_away
            case Stage() as event:
                self._enter(event, recorded.time)
            case SiteReplied() as event:
                self._heard.add(event.site)
                self.answers[event.site, event.stage].add(recorded.time - self._stage_began)
                self.bytes_up[event.site] += event.bytes_up
                self.bytes_down[event.site] += event.bytes_down
            case SiteFailed() as event:
                self._gone.add(event.site)
                self.failures[event.site, event.stage] += 1
            case RoundAborted():
                self.aborted += 1
                self._leave_stage()
            case RoundFinished() as event:
                self._end_stage(recorded.time)
                self._leave_stage()
                self.finished = max(self.finished, event.round)
                self.survivors = len(event.survivors)
                self.round_time.add(event.seconds)
            case RunFinished():
                self._end_stage(recorded.time)
                self._leave_stage()
                self.is_over = True
            case RunFailed() as event:
                self.failure = event.reason
                self._leave_stage()
            case RunInterrupted():
                self._leave_stage()
            case _:
                pass

    def _enter(self, stage: Stage, time: float) -> None:
        self._end_stage(time)
        # The first stage of a round is for every site that takes part, a later one for those that answered the last.
        first = self._stage is None or self._stage.round != stage.round or stage.stage in {"train", "evaluate"}
        away = {refusal.site for refusal in self.turned_away}
        self._asked = set(self.sites) - away if first else set(self._heard)
        self._stage, self._stage_began = stage, time
        self._heard, self._gone = set(), set()

    def _end_stage(self, time: float) -> None:
        if self._stage is not None:
            self.stages[self._stage.stage].add(time - self._stage_began)

    def _leave_stage(self) -> None:
        self._stage = None
        self._heard, self._gone = set(), set()
