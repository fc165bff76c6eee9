"""What every privacy mechanism of a recipe answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

from sealora_common.privacy.calibration import check_delta
from sealora_common.privacy.mechanisms.calibrated import calibrated_evaluation
from sealora_common.privacy.releases import HeldoutPlan, TrainingPlan

if TYPE_CHECKING:  # a recipe is validated by its mechanism, which its sections therefore look up late
    from sealora_common.recipe import Recipe
    from sealora_common.round.sum_grid import SumGrid

Repeat = Literal["same", "charged", "refused"]
"""What a site does when a round is ordered again after its vector left: it sends the `same` vector for nothing, a new
one that is `charged` anew, or none, for the order is `refused`."""


class PrivacyMechanism(ABC):
    """One value of `privacy.mechanism`.

    Attributes:
        protects: whether anything is noised, charged and promised.
        repeat: what becomes of a repeated round.
        may_regroup: whether each site's vector carries its own promise, so that an order may seal in groups though the
            recipe seals all as one.
        sums_on_grid: whether a round is one step whose integer sum the server steps along, or a delta made at the site.
    """

    protects: bool
    repeat: Repeat
    may_regroup: bool
    sums_on_grid: bool

    @abstractmethod
    def require(self, recipe: Recipe) -> None:
        """Refuses settings of other sections, or of its own, that this mechanism cannot keep its promise with.

        Raises:
            ValueError: names the setting and the remedy.
        """

    @abstractmethod
    def training_plan(self, recipe: Recipe, roster_size: int) -> TrainingPlan:
        """How a round is sampled, clipped and noised, and what it is accounted as.

        Raises:
            BudgetError: no amount of noise reaches the recipe's epsilon.
            RecipeError: as for `grid`.
        """

    def heldout_plan(self, recipe: Recipe) -> HeldoutPlan:
        """Likewise for an evaluation.

        Raises:
            BudgetError: no amount of noise reaches the recipe's epsilon.
        """
        return HeldoutPlan(calibrated_evaluation(recipe))

    def require_units(self, recipe: Recipe, units: int) -> None:
        """Refuses a delta that so many units of privacy (records, persons) do not permit.

        Raises:
            BudgetError: it would permit publishing one of them outright.
        """
        check_delta(recipe.privacy.delta, units)

    def tally(self, recipe: Recipe) -> tuple[str, ...]:
        """What a site tells of its training beside its vector, in this order, each with an entry in the sealed tally.

        Noise on a delta covers what is told of it; nothing would cover what is told of a sum that carries a share.
        """
        return ("clipped",) if recipe.privacy.target_quantile is None else ("clipped", "unclipped")

    def seed(self, recipe: Recipe) -> int | None:
        """What samples and roundings of the run follow from; None for the kernel's generator, as all secrets need."""
        return None

    def grid(self, recipe: Recipe, roster_size: int) -> SumGrid | None:
        """The integer grid of a round's sum; None where deltas are summed.

        Raises:
            RecipeError: the sum does not fit the ring, or too many honest survivors are asked for.
        """
        return None


def require_no_spare_rounds(recipe: Recipe) -> None:
    """Refuses spare rounds where a repeated round costs nothing or is refused.

    Raises:
        ValueError: there are some.
    """
    if recipe.privacy.spare_rounds > 0:
        raise ValueError(
            f"privacy.spare_rounds is {recipe.privacy.spare_rounds}, but only with privacy.mechanism: distributed "
            f"does a repeated round cost anything, and here it is {recipe.privacy.mechanism}: leave spare_rounds out"
        )


def require_no_seed(recipe: Recipe) -> None:
    """Refuses a seed in a recipe that everybody has: who knows the samples and the noise knows what they hide.

    Raises:
        ValueError: there is one.
    """
    if recipe.training.seed is not None:
        raise ValueError(
            f"training.seed is {recipe.training.seed}, but with privacy.mechanism: {recipe.privacy.mechanism} samples "
            "and noise must be secret, and would follow from it: leave it out, or take privacy.mechanism: none"
        )


def require_flat_clipping(recipe: Recipe) -> None:
    """Refuses to adapt a clipping norm that is not one norm.

    Raises:
        ValueError: it is asked for.
    """
    if recipe.privacy.target_quantile is not None and recipe.privacy.clipping != "flat":
        raise ValueError(NOT_ADAPTABLE)


NOT_ADAPTABLE = (
    "privacy.target_quantile adapts one clipping norm to noisy counts: it needs privacy.clipping: flat and a "
    "mechanism other than none"
)
