"""A run told as it went, one line after the other: the server's log and `sealora server logs RUN` say the same.

It is made of the one fold of the run's events and of nothing else, so that it can be told while the run goes and long
afterwards.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealora_common.errors import SealoraError
from sealora_common.records.events import (
    AdapterDelivered,
    Attendance,
    DeliveryFailed,
    Event,
    OperatorActed,
    OperatorAction,
    ProcessEnded,
    RoundAborted,
    RoundFinished,
    RunFailed,
    RunStarted,
    SiteBlamed,
    SiteFailed,
    SumSpoilt,
    TooFewSites,
)
from sealora_common.records.fold import StateTail, Step
from sealora_common.records.names import EVENTS
from sealora_common.records.run_state import RunState, StageState
from sealora_common.roster import Roster
from sealora_common.show.moment_text import moment_text
from sealora_common.show.quantities import bytes_text, count_text, names_text, time_text
from sealora_common.show.safe_text import safe_text
from sealora_server.view.live.plain_lines import plain_line, where_text

_ACTED: Mapping[OperatorAction, str] = {
    "submit": "submitted",
    "stop": "stopped",
    "resume": "told to go on",
    "use_roster": "given a new roster",
    "approve": "approved",
    "refuse": "refused approval",
}
_WORK = {"train": "trained", "evaluate": "evaluated"}
"""The stages that take a site's time; what is left of a round is sealing."""
_MOST_TIMES = 12
_SHOWN_ID = 12
"""Letters of a run's id that a site's log shows (a test holds the two together)."""
_FOLLOW_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One line.

    Attributes:
        time: when it happened, Unix seconds.
        text: what happened, made safe.
        level: as `logging` has it: warnings are what an operator should look at, errors what ended the run.
        round: the round it is about, if it is about one.
        reason: why it happened, where that is known.
    """

    time: float
    text: str
    level: int = logging.INFO
    round: int | None = None
    reason: str | None = None

    def __str__(self) -> str:
        """`2026-01-31 23:59:59+01:00 WARNING text`, as logs are written."""
        return f"{moment_text(self.time)} {logging.getLevelName(self.level):<7} {self.text}"


def story(steps: Iterable[Step]) -> Iterator[StoryLine]:
    """The lines of these steps of a run; most steps have one, an answer of a site has none of its own."""
    for step in steps:
        event = step.recorded.event
        number, reason = getattr(event, "round", None), getattr(event, "reason", None)
        for text in (*_of_the_stage_before(step), *_texts(event, step.after)):
            yield StoryLine(step.recorded.time, text, _level(event), number, reason)


def told_lines(
    directory: Path, *, follow: bool = False, wait: Callable[[], None] = lambda: time.sleep(_FOLLOW_SECONDS)
) -> Iterator[StoryLine]:
    """The story of the run in `directory`, from its beginning.

    Args:
        directory: the run's.
        follow: whether to go on with what happens next, until the run is finished.
        wait: called where nothing has happened.
    """
    try:
        sites = Roster.load(directory / "roster.json").names
    except SealoraError:  # only who has not answered is not known then
        sites = ()
    tail = StateTail(directory / EVENTS, RunState(roster=sites))
    while True:
        yield from story(tail.steps())
        if not follow or tail.state.is_complete:
            return
        wait()


def _texts(event: Event, state: RunState) -> Iterator[str]:
    match event:
        case OperatorActed():
            yield f"{_ACTED[event.action]} by {safe_text(event.account)}"
        case AdapterDelivered():
            yield f"{safe_text(event.site)} keeps the final adapter"
        case DeliveryFailed():
            yield f"{safe_text(event.site)} has not taken the final adapter: {safe_text(event.reason)}"
        case ProcessEnded():
            yield f"{safe_text(event.reason)}; it goes on in a new one"
        case Attendance():
            yield from attendance_lines(event, begins=not isinstance(event, TooFewSites))
        case _:
            line = plain_line(event, state, {})
            if line is not None:
                yield line + _beside(event, state)


def _beside(event: Event, state: RunState) -> str:
    """What an operator is told of an event besides what a researcher sees of it."""
    if isinstance(event, RoundFinished):
        given_up = sum(aborted.round == event.round for aborted in state.aborted)
        again = f", after {count_text(given_up, 'attempt')} that failed" if given_up else ""
        size = state.bytes_of_rounds.get(event.round)
        sizes = f", {bytes_text(size.up)} from the sites, {bytes_text(size.down)} to them" if size else ""
        return f"{again}{sizes}; in it: {names_text(event.survivors)}"
    if isinstance(event, RunStarted):
        figure, named = event.heldout, f"; the sites' logs name it {safe_text(event.run_id[:_SHOWN_ID])}"
        if not event.heldout_noise:
            return named
        return (
            f"{named}; noise on a site's {figure.name}: standard deviation {event.heldout_noise:.3g} {figure.unit}, "
            "divided by its held-out records"
        )
    return ""


def attendance_lines(told: Attendance, *, begins: bool = True) -> Iterator[str]:
    """Who takes part, then one line for each site that does not.

    Args:
        told: what the server knows of its sites.
        begins: whether they are enough.
    """
    needed = "" if told.needed is None else f", {told.needed} needed"
    first = "taking part" if begins else "too few sites to begin"
    yield f"{first} ({count_text(len(told.sites), 'site')}{needed}): {names_text(told.sites)}"
    for away in told.turned_away:
        yield f"{safe_text(away.name)} takes no part: {safe_text(away.reason)}"
    if told.missing:
        yield f"not connected: {names_text(told.missing)}"


def _of_the_stage_before(step: Step) -> Iterator[str]:
    """Who has trained, once the next stage shows that no more answers are waited for."""
    stage, now = step.before.present_stage, step.after.present_stage
    if stage is None or stage.name not in _WORK or (now is not None and _key(now) == _key(stage)):
        return
    silent = sorted(stage.asked - stage.answered - stage.failed)
    yield f"{where_text(stage.round, step.after)}: {_WORK[stage.name]}: {_times(stage)}" + (
        f"; no answer of {names_text(silent)}" if silent and step.after.ended is None else ""
    )


def _key(stage: StageState) -> tuple[int, str, float]:
    return stage.round, stage.name, stage.began_at


def _times(stage: StageState) -> str:
    """Who has answered, the quickest first, and after how long."""
    times = sorted(stage.answer_seconds.items(), key=lambda item: (item[1], item[0]))
    shown = [f"{safe_text(site)} in {time_text(seconds)}" for site, seconds in times]
    if len(shown) > _MOST_TIMES:
        shown = [*shown[: _MOST_TIMES - 2], f"{len(shown) - _MOST_TIMES + 1} others", shown[-1]]
    return ", ".join(shown) or "no site"


def _level(event: Event) -> int:
    match event:
        case RunFailed():
            return logging.ERROR
        case (
            SiteFailed()
            | SiteBlamed()
            | SumSpoilt()
            | RoundAborted()
            | TooFewSites()
            | ProcessEnded()
            | DeliveryFailed()
        ):
            return logging.WARNING
        case Attendance() if event.turned_away or event.missing:
            return logging.WARNING
        case _:
            return logging.INFO
