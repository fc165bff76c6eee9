"""The mean gradient of one step over all sites: how much noise it carries, and how long records can make it.

Under `local` each site's mean carries the noise of its own sum, and the mean over the sites weighs them as the sealed
round does. A site's optimiser stands between gradient and delta, so this is the noise of what it is given, not of the
delta. Under `distributed` the opened sum carries the shares of noise of all survivors: more than what is accounted
for, which counts on `privacy.honest_survivors`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import steps_of_gradient
from sealora_common.round.contribution import ContributionLayout, site_weight


@dataclass(frozen=True)
class StepNoise:
    """What a step's mean gradient is made of. Lengths are in clipping norms C.

    Attributes:
        units: N of each site: training records or persons.
        sample_rate: q.
        steps: of the whole run.
        noise_multiplier: sigma, of the sum that is accounted for; 0 without privacy.
        noise: standard deviation of the noise on each coordinate of the mean gradient over all sites.
        reach: the largest norm that the mean of the clipped gradients has when as many units are drawn as expected:
            if all of them were clipped and pulled one way. 1, but for weights that the recipe's cap or floor bounds.
    """

    units: tuple[int, ...]
    sample_rate: float
    steps: int
    noise_multiplier: float
    noise: float
    reach: float

    @property
    def expected(self) -> tuple[float, ...]:
        """Units that each site is expected to draw in a step."""
        return tuple(self.sample_rate * units for units in self.units)

    @property
    def noise_in_units(self) -> float:
        """`noise` in units of C / N, N the units of all sites together: of what one unit makes of a mean over all N.

        Where the recipe's cap or floor bounds weights, in units of what one makes of the mean then, `reach` C / N.
        """
        return self.noise / self.reach * sum(self.units)

    def norm(self, parameters: int) -> float:
        """The norm of the noise on all coordinates, in C: sqrt(P) times that on each, to within 1 / sqrt(2 P)."""
        return self.noise * math.sqrt(parameters)

    def as_many_units(self, parameters: int) -> float:
        """Units whose clipped gradients, pulling one way, make a sum as long as the noise on it."""
        return self.norm(parameters) / self.reach * sum(self.expected)


def step_noise(recipe: Recipe, units: Sequence[int]) -> StepNoise:
    """That of a step of `recipe` among sites with so many units each, all of which survive.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
        RecipeError: the recipe asks for more honest survivors than a round is sure to have, or its sum does not fit
            the ring.
        ValueError: a site has no unit, or there is no site.
    """
    if not units or min(units) < 1:
        raise ValueError(f"expected one unit or more at each of one site or more, got {units=}")
    plan = privacy_plan(recipe, len(units)).training
    noise, reach = (_of_deltas if plan.grid is None else _of_one_sum)(recipe, plan, units)
    if plan.votes:
        reach *= steps_of_gradient(plan.grid_steps) / plan.grid_steps
    return StepNoise(
        tuple(units), plan.sample_rate, recipe.steps, plan.event.noise_multiplier, noise=noise, reach=reach
    )


def _of_deltas(recipe: Recipe, plan: TrainingPlan, units: Sequence[int]) -> tuple[float, float]:
    """Noise and reach of a weighted mean of sites that each add noise: variances add up, and so do lengths."""
    weights = [site_weight(recipe, count) for count in units]
    on_a_sum = plan.noise_std / plan.grid_steps if plan.protects else 0.0
    weighted = [weight * on_a_sum / plan.expected_batch(n) for weight, n in zip(weights, units, strict=True)]
    return math.hypot(*weighted) / sum(weights), 1.0


def _of_one_sum(recipe: Recipe, plan: TrainingPlan, units: Sequence[int]) -> tuple[float, float]:
    """Noise and reach of one sum of all sites, over the batch that their weights stand for."""
    weight = sum(site_weight(recipe, n) for n in units)
    grid_step = _grid_step(recipe, plan, len(units), weight, recipe.privacy.clip_norm) / recipe.privacy.clip_norm
    reach = plan.expected_batch(sum(units)) * plan.grid_steps * grid_step
    return plan.noise_std_of_sum(len(units)) * grid_step, reach


def _grid_step(recipe: Recipe, plan: TrainingPlan, roster_size: int, total_weight: float, clip_norm: float) -> float:
    """What a step of the grid is in the mean gradient of sites of this weight together."""
    # One coordinate stands for all: each is laid out alike.
    layout = ContributionLayout.of(recipe, layout_of_size(1), roster_size, clip_norm=clip_norm)
    if layout.grid != plan.grid:
        raise ValueError("the grid that is planned is not the one that is laid out")
    return layout.mean_of_grid_step(total_weight)


def noise_of_mean(recipe: Recipe, roster_size: int, survivors: int, total_weight: float, clip_norm: float) -> float:
    """Standard deviation of the noise on each coordinate of the mean gradient that an opened round says.

    Args:
        recipe: of the run.
        roster_size: sites of the round's roster.
        survivors: sites whose shares of noise are in the sum.
        total_weight: what their weights add up to.
        clip_norm: C of the round.

    Returns:
        0 where sites send no sums of gradients: no noise is added, or each adds its own before its own optimiser.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
        RecipeError: the recipe asks for more honest survivors than a round is sure to have, or its sum does not fit
            the ring.
    """
    plan = privacy_plan(recipe, roster_size).training
    if plan.grid is None:
        return 0.0
    return plan.noise_std_of_sum(survivors) * _grid_step(recipe, plan, roster_size, total_weight, clip_norm)


def layout_of_size(parameters: int) -> AdapterLayout:
    """A layout of so many parameters, for what depends on their number alone."""
    return AdapterLayout((TensorSpec("parameters", (parameters,)),))
