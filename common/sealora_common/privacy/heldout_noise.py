"""The noise in the federation's held-out figures, as far as it is public: it follows from the recipe alone.

A site with n held-out units adds Gaussian noise of noise_multiplier * (width of the figure's range) / n to its own
mean. How many it has is its own business, so n is taken to be `data.heldout_limit`: the least noise there can be.
"""

from __future__ import annotations

import math

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure


def noise_of_sum(recipe: Recipe) -> float:
    """Standard deviation of the noise on a site's mean, times its held-out units, in the figure's unit; 0 without."""
    multiplier = mechanism_of(recipe).heldout_plan(recipe).event.noise_multiplier
    return multiplier * HeldoutFigure.of(recipe).range_width(recipe)


def least_noise(recipe: Recipe) -> float:
    """Of one site's mean, at the least."""
    return noise_of_sum(recipe) / recipe.data.heldout_limit


def least_noise_of_mean(recipe: Recipe, sites: int) -> float:
    """Of the mean over so many sites, one or more, at the least."""
    return least_noise(recipe) / math.sqrt(sites)
