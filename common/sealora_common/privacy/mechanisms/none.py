"""`none`: nothing is noised, charged or promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealora_common.privacy.event import PrivacyEvent
from sealora_common.privacy.mechanisms.mechanism import (
    NOT_ADAPTABLE,
    PrivacyMechanism,
    Repeat,
    require_no_spare_rounds,
)
from sealora_common.privacy.releases import HeldoutPlan, TrainingPlan

if TYPE_CHECKING:
    from sealora_common.recipe import Recipe


class NoPrivacy(PrivacyMechanism):
    """No noise. Two vectors of one round could be subtracted, so a site sends no second one."""

    protects = False
    repeat: Repeat = "refused"
    may_regroup = False
    sums_on_grid = False

    def require(self, recipe: Recipe) -> None:
        """As the base says."""
        require_no_spare_rounds(recipe)
        if recipe.privacy.target_quantile is not None:
            raise ValueError(NOT_ADAPTABLE)
        if recipe.training.seed is not None and (recipe.sealing.rotation or recipe.sealing.groups > 1):
            raise ValueError(
                "training.seed repeats a run, but rotations and groups are drawn anew in each: leave out "
                "sealing.rotation and sealing.groups, or the seed"
            )

    def seed(self, recipe: Recipe) -> int | None:
        """The recipe's, for nothing is promised that it could give away."""
        return recipe.training.seed

    def training_plan(self, recipe: Recipe, roster_size: int) -> TrainingPlan:
        """As the base says: the same samples, and no noise."""
        event = PrivacyEvent(0.0, recipe.training.sample_rate, recipe.training.steps_per_round)
        return TrainingPlan.of(recipe, event, grid_steps=0)

    def heldout_plan(self, recipe: Recipe) -> HeldoutPlan:
        """As the base says."""
        return HeldoutPlan(PrivacyEvent(0.0, 1.0, 1))

    def require_units(self, recipe: Recipe, units: int) -> None:
        """Any number will do: there is no promise."""
