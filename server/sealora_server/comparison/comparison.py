"""A comparison in one object, and in `comparison.json`: what each arm came to, and what follows from that in words.

LOCAL: the figures are exact and describe all sites' records; no noise protects them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_server.comparison.arms import ArmKind

SIMULATED = (
    "All of it is simulated on one machine that holds every site's records. The figures are exact, without noise, and "
    "nothing of it is a release: neither figures nor adapters may be handed out on the recipe's epsilon."
)


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ComparedSite(_Told):
    """One site's records."""

    name: str
    units: int
    """Records (persons) that are trained on."""
    heldout_units: int


class ArmFigures(_Told):
    """What one arm came to. All figures are of the held-out records of all sites, the mean over the sites."""

    kind: ArmKind
    key: str
    title: str
    what: str
    sample_rate: float | None
    drawn: float
    """Records (persons) that its steps are expected to draw, all together, if all rounds come."""
    rounds: tuple[int, ...]
    """That were trained, by seed: fewer than the recipe's where early stopping ended it."""
    seeds: tuple[int, ...]
    """Empty where a seed makes no difference: there is one figure then."""
    figures: tuple[float | None, ...]
    """By seed; null where the model has diverged."""
    mean: float | None
    """Over the seeds; null if it has diverged under any."""
    spread: float | None
    """Standard deviation over the seeds; null with one."""
    interval: tuple[float, float] | None
    """95 % of `mean` by how many held-out records there are, of a share; null of a loss."""
    by_site: dict[str, float | None]
    """The mean over the seeds on the held-out records of each site."""
    epsilon: float | None
    """Of the recipe's promise; null where nothing is promised."""
    delta: float | None
    seconds: float
    """The median over the seeds, of the rounds alone."""


class Margin(_Told):
    """Federated minus the best site alone, in the figure's unit."""

    best_alone: str
    """The arm's key."""
    value: float
    uncertainty: float | None
    """Half of its 95 % interval by seeds and held-out records; null if it is not known."""
    is_told_apart: bool
    sentence: str


class ShareOfWay(_Told):
    """How far the federation goes on the way from the base model to pooled records."""

    share: float | None
    """1 is as far as pooled records; null where these are not better than the base model."""
    spread: float | None
    """Standard deviation over the seeds; null with one."""
    without_privacy: float | None
    """The same of the federation without privacy."""
    sentence: str


class Comparison(_Told):
    """What `comparison.json` holds."""

    recipe: str
    recipe_hash: str
    base_model: str
    unit: str
    """What privacy protects: `record` or `person`."""
    mechanism: str
    rounds: int
    steps_per_round: int
    heldout: HeldoutFigure
    sites: tuple[ComparedSite, ...]
    seeds: tuple[int, ...]
    arms: tuple[ArmFigures, ...]
    margin: Margin | None
    """Null where an arm that it takes was left out, or has diverged."""
    share_of_way: ShareOfWay | None
    """Likewise."""
    notes: tuple[str, ...]
    simulated: str = SIMULATED
