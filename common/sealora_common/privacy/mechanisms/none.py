"""`none`: nothing is noised, charged or promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealora_common.privacy.mechanisms.mechanism import (
    NOT_ADAPTABLE,
    PrivacyMechanism,
    Repeat,
    require_no_spare_rounds,
)

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
