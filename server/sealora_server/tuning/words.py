"""The words of a trial as the terminal's table and the page write them."""

from __future__ import annotations

from typing import Final

from sealora_common.recipe.text import FieldValue
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.show.quantities import MISSING
from sealora_server.comparison.difference_text import spread_text
from sealora_server.tuning.result import TrialFigures, TuningResult

ENDS: Final = {"done": "", "diverged": "diverged", "pruned": "ended early", "refused": "refused"}


def column_names(found: TuningResult) -> tuple[str, ...]:
    """Of the table of trials, after the trial's own: searched fields, figure, what is known of how sure it is."""
    sure = ("spread over seeds",) if found.seeds > 1 else ()
    noise = ("noise",) if found.price is not None else ()
    lasts = [field.rpartition(".")[2] for field in found.fields]
    fields = (last if lasts.count(last) == 1 else field for field, last in zip(found.fields, lasts, strict=True))
    return (*fields, found.heldout.short, *sure, *noise)


def column_texts(trial: TrialFigures, found: TuningResult) -> tuple[str, ...]:
    """Of one trial, likewise."""
    heldout = found.heldout
    figure = heldout.text(trial.figure) if trial.figure is not None else ENDS[trial.end]
    sure = (spread_text(heldout, trial.spread),) if found.seeds > 1 else ()
    noise = (_noise_text(heldout, trial.noise),) if found.price is not None else ()
    return (*(value_text(trial.values[field]) for field in found.fields), figure, *sure, *noise)


def value_text(value: FieldValue) -> str:
    """A field's value in a table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _noise_text(heldout: HeldoutFigure, noise: float | None) -> str:
    return MISSING if noise is None else heldout.noise_text(noise)
