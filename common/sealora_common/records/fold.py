"""The one fold of a run's events.

Example:
    >>> state = fold(RunState(), read_events(Path("run/events.jsonl")))  # doctest: +SKIP
    >>> state.rounds_finished  # doctest: +SKIP
    4
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sealora_common.records.event_log import EventTail, Recorded
from sealora_common.records.events import (
    AdapterDelivered,
    Attendance,
    DeliveryFailed,
    EvaluationFinished,
    OperatorActed,
    RoundAborted,
    RoundFinished,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunStarted,
    SiteBlamed,
    SiteFailed,
    SiteReplied,
    SitesReady,
    Stage,
    StoppedEarly,
)
from sealora_common.records.run_state import Bytes, RunState, Spent, StageState

_BESIDE = (OperatorActed, AdapterDelivered, DeliveryFailed)
"""No part of the run's work: the time before them may be a pause, or the run may long be over."""


def fold(state: RunState, entries: Iterable[Recorded]) -> RunState:
    """The state after `entries`, which follow on those it was folded from.

    Takes the time of the entries and of one copy of the state, so that many are best folded at once.
    """
    draft = _Draft(state)
    for entry in entries:
        draft.take(entry)
    return draft.done()


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a run, between the state it came upon and the one it left."""

    recorded: Recorded
    before: RunState
    after: RunState


def steps(state: RunState, entries: Iterable[Recorded]) -> Iterator[Step]:
    """As `fold`, event by event: for whoever tells what each of them changed."""
    for entry in entries:
        before, state = state, fold(state, (entry,))
        yield Step(entry, before, state)


class StateTail:
    """Follows the state of a run while its log grows.

    Args:
        path: of the log; it may appear later.
        state: what is known of the run before anything is read.
    """

    def __init__(self, path: Path, state: RunState) -> None:
        self._tail = EventTail(path)
        self.state = state

    def read(self) -> RunState:
        """The state after what was written since the last call."""
        self.state = fold(self.state, self._tail.read())
        return self.state

    def steps(self) -> list[Step]:
        """What was written since the last call, event by event."""
        found = list(steps(self.state, self._tail.read()))
        if found:
            self.state = found[-1].after
        return found

    def enrol(self, roster: tuple[str, ...]) -> None:
        """From the next stage on the roster's sites are these."""
        self.state = replace(self.state, roster=roster)


class _Draft:
    """A state while entries are taken into it: what each of them changes is in collections that can be changed."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._last_at, self._seconds = state.last_at, state.seconds
        self._conditions = dict(state.conditions)
        self._taking_part = dict.fromkeys(state.taking_part)
        self._bytes_of_sites, self._bytes_of_rounds = dict(state.bytes_of_sites), dict(state.bytes_of_rounds)
        self._bytes_of_stages, self._answered_at = dict(state.bytes_of_stages), dict(state.answered_at)
        self._stage_seconds, self._answer_seconds = dict(state.stage_seconds), dict(state.answer_seconds)
        self._failures = list(state.failures)
        self._delivered = dict.fromkeys(state.delivered)
        self._answered = dict(state.stage.answer_seconds) if state.stage else {}
        self._failed = set(state.stage.failed) if state.stage else set()

    def done(self) -> RunState:
        """The state after all that was taken."""
        return replace(
            self._state,
            last_at=self._last_at,
            seconds=self._seconds,
            conditions=self._conditions,
            taking_part=tuple(self._taking_part),
            bytes_of_sites=self._bytes_of_sites,
            bytes_of_rounds=self._bytes_of_rounds,
            bytes_of_stages=self._bytes_of_stages,
            answered_at=self._answered_at,
            stage_seconds=self._stage_seconds,
            answer_seconds=self._answer_seconds,
            failures=tuple(self._failures),
            delivered=tuple(self._delivered),
            stage=self._stage(),
        )

    def take(self, entry: Recorded) -> None:
        """Takes one more."""
        if isinstance(entry.event, AdapterDelivered):
            self._delivered[entry.event.site] = None
        if isinstance(entry.event, _BESIDE):
            return
        if self._last_at is None:
            self._state = replace(self._state, first_at=entry.time)
        elif not isinstance(entry.event, RunStarted):
            self._seconds += max(0.0, entry.time - self._last_at)
        self._last_at = entry.time
        match entry.event:
            case RunStarted() as started:
                self._start(started, entry.time)
            case Attendance() as attendance:
                self._take_attendance(attendance)
            case Stage() as stage:
                self._begin_stage(stage, entry.time)
            case SiteReplied() as reply:
                self._take_reply(reply, entry.time)
            case SiteFailed(site=site) as failed:
                self._conditions[site] = "lost"
                self._failed.add(site)
                self._failures.append(failed)
            case SiteBlamed(site=site) as blamed:
                self._conditions[site] = "lost"
                self._state = replace(self._state, blamed=(*self._state.blamed, blamed))
            case _:
                self._take_progress(entry)

    def _take_progress(self, entry: Recorded) -> None:
        """An event of the run as a whole: a round or the run itself came to an end, well or not."""
        match entry.event:
            case RoundAborted() as aborted:
                self._leave_stage()
                self._state = replace(self._state, aborted=(*self._state.aborted, aborted))
            case RoundFinished() as finished:
                self._finish_round(finished, entry.time)
            case StoppedEarly() as stopped:
                self._state = replace(self._state, rounds=stopped.round, stopped_early=stopped)
            case EvaluationFinished(heldout_loss=loss):
                self._state = replace(
                    self._state,
                    is_evaluated=True,
                    heldout_losses={**self._state.heldout_losses, self._state.rounds: loss},
                )
            case RunFinished() as finished:
                self._time_stage(entry.time)
                self._leave_stage()
                kept = self._state.rounds if finished.kept_round is None else finished.kept_round
                self._state = replace(
                    self._state,
                    ended="finished",
                    is_complete=True,
                    kept_round=kept,
                    adapter_sha256=finished.adapter_sha256,
                )
            case RunFailed(reason=reason):
                self._leave_stage()
                self._state = replace(self._state, ended="failed", failure=reason)
            case RunInterrupted():
                self._leave_stage()
                self._state = replace(self._state, ended="interrupted")
            case _:  # what tells of nothing that is kept
                pass

    def _start(self, started: RunStarted, time: float) -> None:
        self._conditions = dict.fromkeys(self._conditions, "waiting")
        self._state = replace(
            self._state,
            rounds=started.rounds,
            started=started,
            started_at=time,
            is_greeted=False,
            stage=None,
            is_evaluated=False,
            stopped_early=None,
            rounds_finished=started.first_round - 1,
            ended=None,
            failure="",
            is_insecure=self._state.is_insecure or started.insecure,
        )

    def _take_attendance(self, attendance: Attendance) -> None:
        for site in attendance.sites:
            if self._conditions.get(site, "away") == "away":
                self._conditions[site] = "waiting"
        for away in attendance.turned_away:
            self._conditions[away.name] = "away"
        if isinstance(attendance, SitesReady):
            self._taking_part.update(dict.fromkeys(attendance.sites))
        self._state = replace(self._state, attendance=attendance, is_greeted=True)

    def _begin_stage(self, stage: Stage, time: float) -> None:
        self._time_stage(time)
        last = self._state.present_stage
        # The first stage of a round is for every site that takes part, a later one for those that answered the last.
        if last is None or last.round != stage.round or stage.stage in {"train", "evaluate"}:
            asked = frozenset(self._state.roster) - {away.site for away in self._state.turned_away}
        else:
            asked = frozenset(self._answered)
        for site, condition in self._conditions.items():
            if condition not in {"lost", "away"}:  # a lost site counts again once it answers
                self._conditions[site] = "working"
        self._answered, self._failed = {}, set()
        begun = StageState(round=stage.round, name=stage.stage, sites=stage.sites, began_at=time, asked=asked)
        self._state = replace(self._state, stage=begun)

    def _take_reply(self, reply: SiteReplied, time: float) -> None:
        site, up, down = reply.site, reply.bytes_up, reply.bytes_down
        self._conditions[site] = "answered"
        self._taking_part.setdefault(site)
        self._bytes_of_sites[site] = self._bytes_of_sites.get(site, Bytes()).plus(up, down)
        self._bytes_of_rounds[reply.round] = self._bytes_of_rounds.get(reply.round, Bytes()).plus(up, down)
        self._bytes_of_stages[reply.stage] = self._bytes_of_stages.get(reply.stage, Bytes()).plus(up, down)
        self._answered_at[site] = time
        if self._state.stage is not None:
            seconds = time - self._state.stage.began_at
            self._answered[site] = seconds
            self._answer_seconds[site, reply.stage] = self._answer_seconds.get((site, reply.stage), Spent()).plus(
                seconds
            )

    def _finish_round(self, finished: RoundFinished, time: float) -> None:
        self._time_stage(time)
        self._leave_stage()
        state = self._state
        self._state = replace(
            state,
            rounds_finished=max(state.rounds_finished, finished.round),
            round_seconds=(*state.round_seconds, finished.seconds),
            survivors=finished.survivors,
            survivors_of_rounds={**state.survivors_of_rounds, finished.round: finished.survivors},
            heldout_losses={**state.heldout_losses, finished.round - 1: finished.heldout_loss},
            adapter_sha256=finished.adapter_sha256,
        )

    def _time_stage(self, time: float) -> None:
        stage = self._state.present_stage
        if stage is not None:
            self._stage_seconds[stage.name] = self._stage_seconds.get(stage.name, Spent()).plus(time - stage.began_at)

    def _leave_stage(self) -> None:
        stage = self._state.stage
        if stage is not None:
            self._state = replace(self._state, stage=replace(stage, is_over=True))

    def _stage(self) -> StageState | None:
        stage = self._state.stage
        if stage is None:
            return None
        return replace(stage, answer_seconds=self._answered, failed=frozenset(self._failed))
