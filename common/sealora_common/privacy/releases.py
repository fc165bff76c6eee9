"""How one round of training and one evaluation are done, and what each is accounted as: one object, read by both.

What draws the sample and the noise reads them off the event that is charged. There is no second place where a rate, a
number of steps or a noise multiplier stands, so what runs and what is accounted cannot part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealora_common.errors import BudgetError
from sealora_common.privacy.event import PrivacyEvent

if TYPE_CHECKING:
    from sealora_common.recipe import Recipe
    from sealora_common.round.sum_grid import SumGrid


@dataclass(frozen=True)
class TrainingPlan:
    """One round of training: clipped sums of integers over Poisson samples, noise added to each.

    Attributes:
        event: what the round is accounted as. Its sampling rate, steps and noise are those that run; without noise it
            promises nothing.
        grid_steps: steps of the integer grid on which gradients are summed that make one clipping norm; 0 sums plain
            gradients, neither clipped nor noised.
        per_layer: whether each of m matrices is clipped to C / sqrt(m), or all of them to C.
        votes: whether sums end with a count of the units that were not clipped, under the same noise.
        most_records: of a sampled unit at most so many records, drawn anew, make its contribution.
        grid: the grid of the sealed sum whose sites share the noise between them; None if a site adds all of it.

    Raises:
        BudgetError: what would be summed is not what is accounted for.
    """

    event: PrivacyEvent
    grid_steps: int
    per_layer: bool
    votes: bool
    most_records: int
    grid: SumGrid | None = None

    def __post_init__(self) -> None:
        if self.grid_steps and not self.event.noise_multiplier > 0:
            raise BudgetError(f"noise_multiplier is {self.event.noise_multiplier}: it must be above 0")
        if not self.grid_steps and (self.event.noise_multiplier or self.votes):
            raise BudgetError("noise is planned on sums that nothing clips: it would protect nothing")
        summed = (0, self.grid_steps) if self.grid is None else (self.grid.grid_steps, self.grid.grid_steps)
        if summed != (self.event.grid_steps, self.grid_steps):
            raise BudgetError(
                f"sums on a grid of {self.grid_steps} steps are accounted for on one of {self.event.grid_steps}: their "
                "noise would be another one's"
            )

    @classmethod
    def of(cls, recipe: Recipe, event: PrivacyEvent, grid_steps: int, grid: SumGrid | None = None) -> TrainingPlan:
        """The recipe's way of clipping, under this event's samples and noise.

        Raises:
            BudgetError: as for the class.
        """
        return cls(
            event=event,
            grid_steps=grid_steps,
            per_layer=recipe.privacy.clipping == "per_layer",
            votes=recipe.privacy.target_quantile is not None,
            most_records=recipe.privacy.records_per_person,
            grid=grid,
        )

    @property
    def protects(self) -> bool:
        """Whether the round is charged: it adds noise."""
        return self.grid_steps > 0

    @property
    def sample_rate(self) -> float:
        """q: each unit joins a step's sample with this probability, independently of all others."""
        return self.event.sample_rate

    @property
    def steps(self) -> int:
        """Samples that are drawn and summed in the round."""
        return self.event.steps

    @property
    def noise_std(self) -> float:
        """Standard deviation, in steps of the grid, of the noise on a coordinate of a released sum; 0 for none."""
        return self.event.noise_multiplier * self.grid_steps

    def expected_batch(self, population: int) -> float:
        """Units that a step is expected to draw from so many: what a sum is divided by, whatever was drawn."""
        return self.sample_rate * population


@dataclass(frozen=True)
class HeldoutPlan:
    """One evaluation: the clipped mean of a metric over all held-out units.

    Attributes:
        event: what it is accounted as; its noise multiplier is that of the noise which is added.

    Raises:
        BudgetError: the event is not one release with everybody in it.
    """

    event: PrivacyEvent

    def __post_init__(self) -> None:
        if (self.event.sample_rate, self.event.steps, self.event.noise) != (1.0, 1, "gaussian"):
            raise BudgetError("an evaluation is one release of every held-out unit: it cannot be accounted otherwise")

    @property
    def protects(self) -> bool:
        """Whether the evaluation is charged: it adds noise."""
        return self.event.noise_multiplier > 0
