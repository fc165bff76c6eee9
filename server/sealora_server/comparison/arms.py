"""The arms of a comparison: who trains on what, at equal compute.

Every arm takes the recipe's rounds and steps, and draws as many records in all as the federation is expected to draw.
Arms other than the federation's are without privacy: nothing is clipped, noised or rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.round.unsealed import Party

ArmKind = Literal["base", "alone", "no-privacy", "federated", "pooled"]

WHAT_IT_IS: Final[Mapping[ArmKind, str]] = {
    "base": "The base model with the adapter that the recipe begins with: nothing was trained.",
    "alone": "One site's own records, without privacy, as its model need never leave it: the most that it could do "
    "alone with the recipe's steps. Its sampling rate is raised so that it draws as many records as the federation.",
    "no-privacy": "All sites together with the server's optimiser of the recipe, and nothing clipped, noised or "
    "rounded: what privacy and sealing cost is the way from here to the recipe.",
    "federated": "The recipe, with its clipping, noise, rounding and weights.",
    "pooled": "All sites' records in one place, without privacy: what nobody may do, and the most that these records "
    "and steps teach.",
}


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        kind: which.
        key: its name in files and options.
        title: its name for people.
        recipe: what its parties train by.
        server: the recipe whose server's optimiser steps.
        parties: whose records are summed; none in the arm that trains nothing.
        sealed: whether contributions are rounded, bounded and combined as a sealed round has it.
        drawn: records (persons) that all its steps are expected to draw.
        rate: the sampling rate of its parties.
    """

    kind: ArmKind
    key: str
    title: str
    recipe: Recipe
    server: Recipe
    parties: tuple[Party, ...]
    sealed: bool
    drawn: float
    rate: float

    @property
    def is_seeded(self) -> bool:
        """Whether a seed makes a difference."""
        return bool(self.parties)


def arms_of(recipe: Recipe, units: Mapping[str, int]) -> tuple[Arm, ...]:
    """All arms, in the order in which they are told.

    A recipe without privacy has no arm for what it would be without.

    Args:
        recipe: whose comparison it is.
        units: records (persons) that each site trains on.
    """
    names, whole = tuple(sorted(units)), sum(units.values())
    each: tuple[Party, ...] = tuple((name,) for name in names)
    rate, steps = recipe.training.sample_rate, recipe.steps
    plain = without_privacy(recipe)

    def arm(kind: ArmKind, key: str, title: str, parties: tuple[Party, ...], q: float = rate) -> Arm:
        drawn = steps * q * sum(units[name] for party in parties for name in party)
        sealed = kind == "federated"
        trained_by = recipe if sealed else with_rate(plain, q)
        return Arm(kind, key, title, trained_by, recipe, parties, sealed, drawn, q)

    alone = [
        arm("alone", f"alone-{name}", f"{name} alone", ((name,),), min(1.0, rate * whole / units[name]))
        for name in names
    ]
    protects = mechanism_of(recipe).protects
    return (
        arm("base", "base", "base model", ()),
        *alone,
        *([arm("no-privacy", "no-privacy", "federated, no privacy", each)] if protects else []),
        arm("federated", "federated", "federated", each),
        arm("pooled", "pooled", "pooled records", (names,)),
    )


def without_privacy(recipe: Recipe) -> Recipe:
    """The recipe as sites would train by it if nothing had to be protected.

    Where the server takes the step (`distributed`) a site's part becomes its plain mean gradient.
    """
    privacy = recipe.privacy.model_copy(update={"mechanism": "none", "spare_rounds": 0, "target_quantile": None})
    training = recipe.training.model_copy(update={"epochs": None, "seed": None})
    if mechanism_of(recipe).sums_on_grid:
        gradient = {"optimizer": "sgd", "learning_rate": 1.0, "schedule": "constant", "warmup_steps": 0}
        training = training.model_copy(update=gradient)
    return recipe.model_copy(update={"privacy": privacy, "training": training})


def with_rate(recipe: Recipe, rate: float) -> Recipe:
    """The recipe with this sampling rate."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"sample_rate": rate})})
