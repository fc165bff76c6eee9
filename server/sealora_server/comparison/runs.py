"""Finished runs side by side: figures with their noise, epsilon, bytes and time, and how their recipes differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sealora_common.canonical import canonical_json
from sealora_common.config import JsonValue
from sealora_common.errors import SealoraError
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.run_state import RunState
from sealora_common.records.share_interval import NORMAL_QUANTILE
from sealora_server.comparison.difference_text import difference_text, reach_text
from sealora_server.view.histories import read_histories
from sealora_server.view.summary import Summary, read_state, summary_of

_SAME = 1e-6
"""Figures of one thing that two runs measure exactly are as near as this."""


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ComparedRun(_Told):
    """One finished run."""

    directory: str
    name: str
    run_id: str
    rounds_finished: int
    kept_round: int | None
    heldout_before: float | None
    heldout_after: float | None
    noise: float
    """Standard deviation of the noise on either figure; 0 where they are the sites' own, as after a simulation."""
    noise_is_least: bool
    """Whether `noise` is the least there can be: how many records a site holds out, only the site knows."""
    mechanism: str
    epsilon: float | None
    """The recipe's bound for every site; null where nothing is promised."""
    delta: float | None
    epsilon_spent: float | None
    """The most of any site; null where only the sites know."""
    bytes_up: int
    bytes_down: int
    seconds: float
    recipe_hash: str
    adapter_sha256: str | None
    insecure: bool


class RecipeDifference(_Told):
    """A field in which recipes differ."""

    field: str
    """Dotted."""
    values: tuple[str | None, ...]
    """As JSON, of each run in order; null where a recipe has no such field."""


class RunsComparison(_Told):
    """What `sealora compare RUN RUN` tells."""

    heldout: HeldoutFigure
    runs: tuple[ComparedRun, ...]
    differences: tuple[RecipeDifference, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Read:
    path: Path
    state: RunState
    summary: Summary
    recipe: Recipe


def compare_runs(directories: Sequence[Path]) -> RunsComparison:
    """Reads finished runs and puts them side by side, in the order given.

    Raises:
        SealoraError: there are fewer than two, one is no finished run, or they were judged by different figures.
    """
    if len(directories) < 2:
        raise SealoraError("one run cannot be compared: name two runs or more, or a recipe")
    read = [_read(directory) for directory in directories]
    first = read[0]
    for other in read[1:]:
        if other.summary.heldout != first.summary.heldout:
            raise SealoraError(
                f"{first.path} was judged by {_judged_by(first)}, and {other.path} by {_judged_by(other)}: they "
                "cannot be compared: name runs with the same objective and evaluation.metric"
            )
    runs = tuple(_run(each) for each in read)
    return RunsComparison(
        heldout=first.summary.heldout,
        runs=runs,
        differences=tuple(_differences([each.recipe for each in read])),
        notes=tuple(_notes(read, runs)),
    )


def _read(directory: Path) -> _Read:
    state = read_state(directory)
    summary = summary_of(state, read_histories(directory))
    if summary.status != "finished":
        raise SealoraError(
            f"{directory}: this run is not finished ({summary.status}, {summary.rounds_finished} of {summary.rounds} "
            "rounds): finish it first, or leave it out"
        )
    return _Read(directory, state, summary, load_recipe(directory / "recipe.yaml"))


def _run(read: _Read) -> ComparedRun:
    summary = read.summary
    spent = [site.epsilon for site in summary.sites if site.epsilon is not None]
    noise = _noise(read)
    return ComparedRun(
        directory=str(read.path),
        name=summary.name,
        run_id=summary.run_id,
        rounds_finished=summary.rounds_finished,
        kept_round=summary.kept_round,
        heldout_before=summary.heldout_loss_before,
        heldout_after=summary.heldout_loss_after,
        noise=noise,
        noise_is_least=noise > 0,
        mechanism=summary.mechanism,
        epsilon=summary.epsilon,
        delta=summary.delta,
        epsilon_spent=max(spent, default=None),
        bytes_up=summary.bytes_up,
        bytes_down=summary.bytes_down,
        seconds=summary.seconds,
        recipe_hash=summary.recipe_hash,
        adapter_sha256=summary.adapter_sha256,
        insecure=summary.insecure,
    )


def _noise(read: _Read) -> float:
    """What the run's own pages say. The logs of older versions do not tell it: of them what follows from the recipe."""
    summary, started = read.summary, read.state.started
    exact = any(site.heldout_loss_after is not None for site in summary.sites)
    if exact or summary.heldout_noise is not None or started is None or not started.heldout_noise:
        return summary.heldout_noise or 0.0
    return started.heldout_noise / read.recipe.data.heldout_limit / math.sqrt(max(1, len(summary.sites)))


def _differences(recipes: Sequence[Recipe]) -> list[RecipeDifference]:
    """Field by field, in the order of the recipe."""
    flat = [dict(_fields(recipe.model_dump(mode="json"))) for recipe in recipes]
    names = dict.fromkeys(name for fields in flat for name in fields)
    rows = [(name, tuple(fields.get(name) for fields in flat)) for name in names]
    return [RecipeDifference(field=name, values=values) for name, values in rows if len(set(values)) > 1]


def _fields(value: JsonValue, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict) and (value or not name):
        return [field for key, inner in value.items() for field in _fields(inner, f"{name}.{key}" if name else key)]
    return [(name, canonical_json(value).decode())]


def _notes(read: Sequence[_Read], runs: Sequence[ComparedRun]) -> list[str]:
    heldout, notes = read[0].summary.heldout, []
    whole = [each for each in runs if each.heldout_after is not None]
    ranked = sorted(whole, key=lambda each: each.heldout_after or 0.0, reverse=heldout.better == "higher")
    for other in ranked[1:]:
        gap = abs((ranked[0].heldout_after or 0.0) - (other.heldout_after or 0.0))
        reach = NORMAL_QUANTILE * math.hypot(ranked[0].noise, other.noise)
        if reach and gap <= reach:
            notes.append(
                f"{ranked[0].directory} and {other.directory} differ by {difference_text(heldout, gap, signed=False)}, "
                f"which is within the noise of their figures ({reach_text(heldout, reach)} at the least): the two are "
                "not told apart."
            )
    if any(each.summary.continue_from != read[0].summary.continue_from for each in read):
        notes.append("They began with different adapters (continue_from): figures before are of those.")
    elif not any(each.noise for each in runs) and _differ([each.heldout_before for each in runs]):
        notes.append(
            "Before training their figures differ: they have another base model or adapter, or other held-out records, "
            "so that the figures after are not of one thing either."
        )
    notes += [f"{each.directory}: its randomness was seeded for a test." for each in runs if each.insecure]
    notes.append(
        "Each is one run: how much another draw of samples and noise would change is not told here "
        "(sealora compare RECIPE --seeds 3 tells it)."
    )
    return notes


def _differ(figures: Sequence[float | None]) -> bool:
    known = [figure for figure in figures if figure is not None]
    return bool(known) and max(known) - min(known) > _SAME * max(1.0, abs(known[0]))


def _judged_by(read: _Read) -> str:
    heldout = read.summary.heldout
    return f"{heldout.name} in {heldout.unit}"
