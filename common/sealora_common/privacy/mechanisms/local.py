"""`local`: DP-SGD at each site, whose vector carries a promise of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealora_common.privacy.mechanisms.calibrated import calibrated_round
from sealora_common.privacy.mechanisms.mechanism import (
    PrivacyMechanism,
    Repeat,
    require_flat_clipping,
    require_no_seed,
    require_no_spare_rounds,
)
from sealora_common.privacy.releases import TrainingPlan

if TYPE_CHECKING:
    from sealora_common.recipe import Recipe

LOCAL_GRID_STEPS = 1 << 24
"""Steps of the integer grid that make one clipping norm: fine enough that truncation moves a row of a million
coordinates by 3e-5 of that norm, and no finer, since exact noise takes longer to draw on a finer grid."""


class Local(PrivacyMechanism):
    """Noise at each site."""

    protects = True
    repeat: Repeat = "same"
    may_regroup = True
    sums_on_grid = False

    def require(self, recipe: Recipe) -> None:
        """As the base says."""
        require_no_seed(recipe)
        require_no_spare_rounds(recipe)
        require_flat_clipping(recipe)
        if recipe.privacy.target_quantile is not None and recipe.training.optimizer == "sgd":
            raise ValueError(
                "privacy.target_quantile changes the size of SGD's steps, and so the public range of a delta: use "
                "training.optimizer: adamw"
            )

    def training_plan(self, recipe: Recipe, roster_size: int) -> TrainingPlan:
        """As the base says."""
        return TrainingPlan.of(recipe, calibrated_round(recipe, "gaussian"), LOCAL_GRID_STEPS)
