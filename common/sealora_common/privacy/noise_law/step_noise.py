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
    # One coordinate stands for all: each is laid out alike.
    layout = ContributionLayout.of(recipe, layout_of_size(1), len(units))
    if plan.grid is None or layout.grid != plan.grid:
        raise ValueError("the grid that is planned is not the one that is laid out")
    grid_step = layout.mean_of_grid_step(sum(site_weight(recipe, n) for n in units)) / layout.clip_norm
    variance = plan.grid.noise_variance(plan.event.noise_multiplier) * len(units)
    return math.sqrt(variance) * grid_step, plan.expected_batch(sum(units)) * plan.grid.grid_steps * grid_step


def layout_of_size(parameters: int) -> AdapterLayout:
    """A layout of so many parameters, for what depends on their number alone."""
    return AdapterLayout((TensorSpec("parameters", (parameters,)),))
