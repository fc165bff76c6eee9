"""Which figures of a run are tracked, and what they are called."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import PurePosixPath

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.promise import NO_PROMISE, promise_text
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.adapter import SECTION_OF_KIND
from sealora_common.records.event_log import Recorded
from sealora_common.records.events import EvaluationFinished, RoundFinished
from sealora_common.records.fold import Step
from sealora_common.records.run_state import Bytes, RunState
from sealora_server.tracking.spending import Spending
from sealora_server.tracking.tracker import Point, Setting, TrackedRun
from sealora_server.view.told_figure_text import noise_of_mean, told_name

_LONGEST_SETTING = 250
_NOT_TOLD = "sites"
"""Of a recipe: where a simulation's sites have their records, which may be an address with a password in it."""


def tracked_run(state: RunState, recipe: Recipe) -> TrackedRun:
    """The run, once it has started.

    Raises:
        ValueError: it has not.
    """
    if state.started is None:
        raise ValueError("a run that has not started cannot be tracked")
    of_other_kinds = {section for section in SECTION_OF_KIND.values() if section != SECTION_OF_KIND[recipe.adapter]}
    settings = dict(_settings("", recipe.model_dump(mode="json"), frozenset({_NOT_TOLD, *of_other_kinds})))
    settings["recipe_hash"] = state.started.recipe_hash
    notes = {
        "heldout": f"{told_name(state)} of the federation, {state.heldout.unit}, {state.heldout.better} is better",
        "privacy": promise_text(recipe) if mechanism_of(recipe).protects else NO_PROMISE,
    }
    return TrackedRun(state.started.run_id, state.started.name, state.first_at, settings, notes)


def points(step: Step, spending: Spending) -> Iterator[Point]:
    """What an event adds to a run's curves; most add nothing.

    Args:
        step: the event, with the state of the run before and after it.
        spending: of the run's recipe.
    """
    event, state = step.recorded.event, step.after
    if isinstance(event, RoundFinished):
        # Of the adapter that came into the round, so that it belongs to the rounds before.
        yield _point(step.recorded, event.round - 1, _heldout(state, event.heldout_loss, len(event.survivors)))
        yield _point(step.recorded, event.round, _round_figures(step, event, spending))
    elif isinstance(event, EvaluationFinished):
        figures = _heldout(state, event.heldout_loss, len(event.survivors))
        yield _point(step.recorded, state.rounds, {**figures, **spending.figures(state, ("heldout",))})


def _heldout(state: RunState, value: float | None, sites: int) -> dict[str, float]:
    if value is None:
        return {}
    figures = {f"heldout/{state.heldout.short.replace(' ', '_')}": value}
    noise = noise_of_mean(state, {}, sites)  # of what everybody may know: no site's number of held-out units
    return figures if noise is None else {**figures, "heldout/noise_deviation_least": noise.deviation}


def _round_figures(step: Step, event: RoundFinished, spending: Spending) -> dict[str, float]:
    state, nothing = step.after, Bytes()
    sent = state.bytes_of_rounds.get(event.round, nothing)
    lost = [failure for failure in state.failures if failure.round == event.round]
    aborted = [attempt for attempt in state.aborted if attempt.round == event.round]
    return {
        "round/survivors": len(event.survivors),
        "round/lost_answers": len(lost),
        "round/aborted_attempts": len(aborted),
        "round/seconds": event.seconds,
        "round/bytes_from_sites": sent.up,
        "round/bytes_to_sites": sent.down,
        **spending.figures(state),
    }


def _point(recorded: Recorded, rounds: int, figures: dict[str, float]) -> Point:
    finite = {name: float(value) for name, value in figures.items() if math.isfinite(value)}
    return Point(rounds, recorded.time, finite)


def _settings(place: str, value: object, left_out: frozenset[str]) -> Iterator[tuple[str, Setting]]:
    if isinstance(value, dict) and value:
        for name, field in value.items():
            if place or name not in left_out:
                yield from _settings(f"{place}.{name}" if place else str(name), field, left_out)
    elif place == "model.base" and isinstance(value, str):
        is_path = value[0] in "./~" or "\\" in value
        yield place, PurePosixPath(value.replace("\\", "/")).name if is_path else value
    elif isinstance(value, int | float | bool):
        yield place, value
    elif value not in (None, "", [], {}):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield place, text if len(text) <= _LONGEST_SETTING else f"{text[: _LONGEST_SETTING - 3]}..."
