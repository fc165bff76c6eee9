"""The integer grid of a distributed sum: clipped gradients and shares of noise, added in the sealing ring.

A gradient is scaled so that the clipping norm C is `grid_steps` steps of the grid, and truncated to integers towards
zero, which lengthens no vector: the L2 sensitivity of a site's sum is `grid_steps`, and rounding adds nothing to it.
Each site bounds every coordinate of its sum, which brings sums no further apart, adds its share of Skellam noise
(Agarwal, Kairouz & Liu 2021, arXiv:2110.04995) and reduces modulo 2^w. The sum of the sites' words is the sum of
their integers modulo 2^w, and reading it as a signed number is post-processing: should it wrap, usefulness suffers
and privacy does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_common.errors import RecipeError
from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import VOTE
from sealora_common.secagg import threshold_for
from sealora_common.secagg.ring import Segment, Words

_SITE_RANGE = 8.0  # a coordinate of one site's sum, in clipping norms: gradients spread over far more coordinates
_VOTE_RANGE = 1.25  # the count of unclipped units, in expected batches of a site of weight 1
_NOISE_RANGE = 8.0  # of the sum's noise, in standard deviations
_FEWEST_STEPS = 1 << 10


@dataclass(frozen=True)
class SumGrid:
    """The grid that all sites of a recipe and roster share.

    Attributes:
        grid_steps: steps of the grid that make one clipping norm; the L2 sensitivity of the sum. A power of two.
        site_limit: largest absolute value of a coordinate of one site's sum, before its noise.
        bits: w, width of the ring.
        honest_survivors: sites whose shares of noise make up the full noise.
        noise_limit: largest absolute value that the noise of a sum is taken to have (8 standard deviations of the
            largest noise the recipe can need, all sites' shares together: one coordinate in 10^15 exceeds it).
    """

    grid_steps: int
    site_limit: int
    bits: int
    honest_survivors: int
    noise_limit: int = 0

    @classmethod
    def of(cls, recipe: Recipe, roster_size: int) -> SumGrid:
        """The finest grid on which the largest noise the recipe can need, and all sites' sums, fit into the ring.

        Follows from public values by arithmetic alone, so that the server can tell it without an accountant.

        Raises:
            RecipeError: the ring is too narrow, or more honest survivors are asked for than a round is sure to have.
        """
        honest = honest_survivors(recipe, roster_size)
        noise = _largest_noise_multiplier(recipe) * math.sqrt(roster_size / honest)
        site = _SITE_RANGE
        if recipe.privacy.target_quantile is not None:
            site = max(site, _VOTE_RANGE * VOTE * recipe.training.sample_rate * recipe.sealing.weight_cap)
        reach = _NOISE_RANGE * noise + site * roster_size
        bits = recipe.sealing.ring_bits
        grid_steps = 1 << max(0, math.floor(math.log2((1 << (bits - 1)) / reach)))
        if grid_steps < _FEWEST_STEPS:
            more = 1 + math.ceil(math.log2(_FEWEST_STEPS * reach))
            raise RecipeError(
                f"sealing.ring_bits is {bits}, too narrow for the noise of privacy.epsilon {recipe.privacy.epsilon:g} "
                f"over {recipe.accounted_steps} rounds with {roster_size} sites: "
                + (f"set it to {more} or more" if more <= 32 else "take fewer rounds or a larger epsilon")
            )
        limit = math.ceil(_NOISE_RANGE * noise * grid_steps)
        return cls(grid_steps, math.floor(site * grid_steps), bits, honest, limit)

    def sum_limit(self, survivors: int) -> int:
        """Largest absolute value of a coordinate of the sum of so many honest sites, in grid steps.

        Holding an opened sum to it is post-processing and costs no privacy.
        """
        return min(survivors * self.site_limit + self.noise_limit, 1 << (self.bits - 1))

    def noise_variance(self, noise_multiplier: float) -> float:
        """Variance of one site's share of noise, in squared grid steps.

        `honest_survivors` shares add up to a variance of (noise_multiplier * grid_steps)^2.
        """
        return (noise_multiplier * self.grid_steps) ** 2 / self.honest_survivors

    def encode(self, values: NDArray[np.int64]) -> Words:
        """Integers, shape (n,), modulo 2^w as words of the ring's container."""
        segment = Segment(0, self.bits)
        return (values & np.int64(segment.modulus_mask)).astype(segment.dtype)

    def decode(self, words: Words) -> NDArray[np.int64]:
        """Words modulo 2^w, shape (n,), as the signed integers in [-2^(w-1), 2^(w-1)) that they stand for."""
        half = np.int64(1 << (self.bits - 1))
        return (words.astype(np.int64) + half) % (2 * half) - half


def honest_survivors(recipe: Recipe, roster_size: int) -> int:
    """How many honest survivors carry the full noise: as the recipe says, or the fewest there can be.

    A site that drops out adds no noise, and whoever reads the sum and is a site itself knows its own share of it. A
    round is opened with no fewer survivors than the threshold and `sealing.min_survivors`; one of them at least is
    taken to be the reader, and against a malicious server up to a third of the roster to read along with it (see
    `secagg.terms.threshold_for`).

    Raises:
        RecipeError: the recipe asks for more honest survivors than a round is sure to have.
    """
    survivors = max(threshold_for(roster_size, recipe.sealing.adversary), recipe.sealing.min_survivors)
    asked = recipe.privacy.honest_survivors
    if asked is None:
        readers = max(1, (roster_size - 1) // 3) if recipe.sealing.adversary == "malicious" else 1
        return max(1, survivors - readers)
    if asked > survivors:
        raise RecipeError(
            f"privacy.honest_survivors is {asked}, but a round of {roster_size} sites may be opened with {survivors} "
            f"survivors, whose noise would then be too small: set it to {survivors} or less"
        )
    return asked


def _largest_noise_multiplier(recipe: Recipe) -> float:
    """A bound on the noise multiplier of the recipe's rounds: what they would need without sampling.

    T Gaussian releases cost T / (2 sigma^2) + sqrt(2 T log(1/delta)) / sigma (Mironov 2017, arXiv:1702.07476, Cor. 3
    and Prop. 3, at the best order); solved for sigma, with a tenth more for the orders being whole numbers.
    """
    log_delta = math.log(1 / recipe.privacy.delta)
    ratio = math.sqrt(2 * log_delta + 2 * recipe.privacy.epsilon) - math.sqrt(2 * log_delta)
    return 1.1 * math.sqrt(recipe.accounted_steps) / ratio
