"""A tuning in one object, and in `tuning.json`: what each trial came to, which values won, what looking has cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from sealora_common.recipe.text import FieldValue
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_server.tuning.price import TuningPrice
from sealora_server.tuning.records_kind import RecordsKind
from sealora_server.tuning.trials import AS_WRITTEN, TrialEnd


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class TrialFigures(_Told):
    """What one trial came to."""

    number: int
    """1 is the recipe as it is."""
    values: dict[str, FieldValue]
    end: TrialEnd
    reason: str
    """Why it was refused, or pruned; empty otherwise."""
    figure: float | None
    """Mean over the seeds; null without one."""
    spread: float | None
    """Standard deviation over the seeds; null with one."""
    noise: float | None
    """Standard deviation of the noise in `figure`; null where it is exact."""

    @property
    def title(self) -> str:
        """Its name for people."""
        return "1 (as is)" if self.number == AS_WRITTEN else str(self.number)


class TuningGain(_Told):
    """The best trial's figure minus that of the recipe as it is, in the figure's unit."""

    value: float
    uncertainty: float | None
    """Half of its 95 % interval, by the held-out records or the noise, and by seeds; null if it is not known."""
    is_told_apart: bool
    sentence: str


class TuningResult(_Told):
    """What `tuning.json` holds."""

    recipe: str
    recipe_hash: str
    """Of the recipe as it was given, bound to its base model."""
    base_model: str
    unit: str
    mechanism: str
    heldout: HeldoutFigure
    sites: tuple[str, ...]
    records: RecordsKind
    """What the records are, as the person said."""
    records_recognised: bool
    """Whether nobody said it, as they are those of `sealora-site demo-data`."""
    searched: tuple[str, ...]
    """As it can be given after `--search`."""
    fields: tuple[str, ...]
    """The searched fields, in the order of `searched`."""
    sampler: str
    """How values were drawn."""
    prunes: bool
    """Whether trials end early that are worse than the median of those before."""
    seeds: int
    trials: tuple[TrialFigures, ...]
    best: int | None
    """The number of the best trial; null if none was carried through."""
    best_overrides: tuple[str, ...]
    """Its values, as they can be given after a recipe; empty if the recipe as it is was best, or none was."""
    best_recipe_hash: str | None
    """Of `best.yaml`."""
    gain: TuningGain | None
    """Null where the recipe as it is has no figure, or none is better."""
    price: TuningPrice | None
    """Of private records; null of others, where looking is free."""
    notes: tuple[str, ...]

    @property
    def best_trial(self) -> TrialFigures | None:
        """The best trial; None if none was carried through."""
        return next((trial for trial in self.trials if trial.number == self.best), None)
