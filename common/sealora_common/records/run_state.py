"""A run so far: the one state that everything reads which shows a run. `fold` makes it of the run's events.

A terminal, a page, a summary, an operator's status and metrics differ in what they draw of it, not in what they know.
Nothing is decided on it: it is what a log says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from sealora_common.records.events import (
    Attendance,
    RoundAborted,
    RunStarted,
    SiteBlamed,
    SiteFailed,
    StageName,
    StoppedEarly,
    TurnedAway,
)
from sealora_common.records.heldout_figure import HeldoutFigure

SiteCondition = Literal["waiting", "working", "answered", "lost", "away"]
"""`away`: connected, and takes no part; `lost`: failed in a stage, and counts again once it answers."""

NO_PRIVACY = "none"
"""Name of the mechanism that protects nothing."""

Ending = Literal["finished", "failed", "interrupted"]


class Bytes(NamedTuple):
    """Payload of messages, as the server counts it."""

    up: int = 0
    """From the sites."""
    down: int = 0
    """To them."""

    def plus(self, up: int, down: int) -> Bytes:
        """With those of one more message each way."""
        return Bytes(self.up + up, self.down + down)


class Spent(NamedTuple):
    """Seconds spent on something, and how often."""

    times: int = 0
    seconds: float = 0.0

    def plus(self, seconds: float) -> Spent:
        """With one more time."""
        return Spent(self.times + 1, self.seconds + seconds)


@dataclass(frozen=True, slots=True)
class StageState:
    """The last stage that was begun.

    Attributes:
        round: whose stage it is.
        name: of the stage.
        sites: how many are awaited.
        began_at: Unix seconds.
        asked: sites that were asked, as far as their names are known.
        answer_seconds: site -> from the order to its answer, of those that have answered.
        failed: sites that have failed.
        is_over: whether its round was finished or given up since, or the run ended.
    """

    round: int
    name: StageName
    sites: int
    began_at: float
    asked: frozenset[str]
    answer_seconds: Mapping[str, float] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    is_over: bool = False

    @property
    def answered(self) -> frozenset[str]:
        """Sites that have answered."""
        return frozenset(self.answer_seconds)


@dataclass(frozen=True, slots=True)
class RunState:
    """A run so far. All counts and times are over its whole life, restarts included, unless it is said otherwise.

    Attributes:
        roster: the roster's sites, where whoever folds knows them; takes effect with the next stage.
        rounds: that the run trains: the recipe's, or as many as there were when it stopped early; 0 before the run has
            started, unless whoever folds knows it.
        started: the newest start: a resumed run has several.
        first_at: when the first event was written, Unix seconds; 0 before there is one.
        started_at: when the newest start was.
        last_at: when the newest event was.
        seconds: the run was at work: the time between an interruption and the resumption does not count.
        conditions: site -> how it is; every site that was ever named.
        taking_part: sites in the order the server announced them, then any that only appeared by a message.
        attendance: who takes part and who does not, when the server last said so.
        is_greeted: whether it has said so since the newest start.
        stage: the last that was begun since the newest start.
        is_evaluated: whether the final adapter was evaluated since the newest start.
        stopped_early: that the run trains no more of its rounds, if it does not.
        rounds_finished: of those that count, which a resumed run may have fewer of.
        round_seconds: of each finished round.
        survivors: sites in the last opened sum.
        survivors_of_rounds: finished round -> sites in its sum.
        heldout_losses: rounds trained -> the opened sum's mean of what `heldout` says; None where it told none.
        adapter_sha256: of the newest adapter, hex; of the one that was kept, once the run has come to its end.
        kept_round: rounds that the adapter had been trained that was kept at the end; None before.
        ended: how, since the newest start.
        failure: why the run failed, if it has since the newest start.
        is_complete: whether it ever came to its end.
        is_insecure: whether it was ever seeded for a test.
        bytes_of_sites: site -> of those that answered.
        bytes_of_rounds: round -> of all sites together.
        bytes_of_stages: stage -> of all sites together.
        answered_at: site -> when its newest answer arrived, Unix seconds.
        stage_seconds: stage -> time it took.
        answer_seconds: (site, stage) -> time from the server's order to the site's answer.
        failures: of sites, oldest first.
        blamed: sites that broke the protocol, oldest first.
        aborted: attempts that were given up, oldest first.
        delivered: sites that have said that they keep the final adapter.
    """

    roster: tuple[str, ...] = ()
    rounds: int = 0
    started: RunStarted | None = None
    first_at: float = 0.0
    started_at: float | None = None
    last_at: float | None = None
    seconds: float = 0.0
    conditions: Mapping[str, SiteCondition] = field(default_factory=dict)
    taking_part: tuple[str, ...] = ()
    attendance: Attendance | None = None
    is_greeted: bool = False
    stage: StageState | None = None
    is_evaluated: bool = False
    stopped_early: StoppedEarly | None = None
    rounds_finished: int = 0
    round_seconds: tuple[float, ...] = ()
    survivors: tuple[str, ...] = ()
    survivors_of_rounds: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    heldout_losses: Mapping[int, float | None] = field(default_factory=dict)
    adapter_sha256: str | None = None
    kept_round: int | None = None
    ended: Ending | None = None
    failure: str = ""
    is_complete: bool = False
    is_insecure: bool = False
    bytes_of_sites: Mapping[str, Bytes] = field(default_factory=dict)
    bytes_of_rounds: Mapping[int, Bytes] = field(default_factory=dict)
    bytes_of_stages: Mapping[StageName, Bytes] = field(default_factory=dict)
    answered_at: Mapping[str, float] = field(default_factory=dict)
    stage_seconds: Mapping[StageName, Spent] = field(default_factory=dict)
    answer_seconds: Mapping[tuple[str, StageName], Spent] = field(default_factory=dict)
    failures: tuple[SiteFailed, ...] = ()
    blamed: tuple[SiteBlamed, ...] = ()
    aborted: tuple[RoundAborted, ...] = ()
    delivered: tuple[str, ...] = ()

    @property
    def is_private(self) -> bool:
        """Whether a mechanism protects the run; False before it has started."""
        return self.started is not None and self.started.mechanism != NO_PRIVACY

    @property
    def planned_rounds(self) -> int:
        """The recipe's, whether or not the run stops early."""
        return self.rounds if self.started is None else self.started.rounds

    @property
    def final_round(self) -> int:
        """Rounds that the final adapter has been trained, or will have been as far as is known."""
        return self.rounds if self.kept_round is None else self.kept_round

    @property
    def heldout(self) -> HeldoutFigure:
        """What its evaluations tell."""
        return HeldoutFigure() if self.started is None else self.started.heldout

    @property
    def present_stage(self) -> StageState | None:
        """The stage the run is in; None between rounds."""
        return None if self.stage is None or self.stage.is_over else self.stage

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """The sites whose answer to the present stage is out."""
        stage = self.present_stage
        return () if stage is None else tuple(sorted(stage.asked - stage.answered - stage.failed))

    @property
    def turned_away(self) -> tuple[TurnedAway, ...]:
        """Sites that are connected and take no part, as the server told since the newest start."""
        return self.attendance.turned_away if self.attendance is not None and self.is_greeted else ()

    @property
    def bytes(self) -> Bytes:
        """Of all sites together."""
        counts = self.bytes_of_sites.values()
        return Bytes(sum(count.up for count in counts), sum(count.down for count in counts))
