"""`local`: DP-SGD at each site, whose vector carries a promise of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealora_common.privacy.mechanisms.mechanism import (
    PrivacyMechanism,
    Repeat,
    require_flat_clipping,
    require_no_spare_rounds,
)

if TYPE_CHECKING:
    from sealora_common.recipe import Recipe


class Local(PrivacyMechanism):
    """Noise at each site."""

    protects = True
    repeat: Repeat = "same"
    may_regroup = True
    sums_on_grid = False

    def require(self, recipe: Recipe) -> None:
        """As the base says."""
        require_no_spare_rounds(recipe)
        require_flat_clipping(recipe)
        if recipe.privacy.target_quantile is not None and recipe.training.optimizer == "sgd":
            raise ValueError(
                "privacy.target_quantile changes the size of SGD's steps, and so the public range of a delta: use "
                "training.optimizer: adamw"
            )
