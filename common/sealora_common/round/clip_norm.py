"""Adaptive clipping: the clipping norm follows a noisy count of unclipped gradients (Andrew et al. 2021).

"Differentially Private Learning with Adaptive Clipping", arXiv:1905.03871. The count takes part of each unit's length
(see `sealora_client.training.clipped_sum`), so it costs no privacy beyond the step's own and a little accuracy: at a
vote of 0.1 the gradient keeps 99.5 % of its length, and a step's count has a noise of 10 sigma / 2 units.
"""

from __future__ import annotations

import math

from sealora_common.recipe import Recipe

VOTE = 0.1
"""s: what a unit's vote takes of its clipping norm."""

_RATE = 0.2  # eta_C of the paper, section 3
_WIDEST = 100.0


def steps_of_gradient(grid_steps: int) -> int:
    """Those that the gradient keeps: with the vote's they make a vector no longer than `grid_steps`."""
    return math.floor(math.sqrt(1 - VOTE**2) * grid_steps)


def unclipped_share(vote_sum: float, grid_steps: int, expected: float) -> float:
    """The noisy share of unclipped units, from the summed votes in grid steps, over `expected` units drawn."""
    return 0.5 + vote_sum / (2 * VOTE * grid_steps * expected)


def next_clip_norm(recipe: Recipe, used: float, unclipped: float | None) -> float:
    """The clipping norm of the next round: C exp(-eta (b - gamma)), Algorithm 1, within a hundredfold of the recipe's.

    Args:
        recipe: `privacy.clip_norm` is where it starts.
        used: the norm of the round that was opened.
        unclipped: b, the noisy share of unclipped units in it; None if the recipe does not adapt.
    """
    quantile = recipe.privacy.target_quantile
    if quantile is None or unclipped is None:
        return used
    wanted = used * math.exp(-_RATE * (min(1.0, max(0.0, unclipped)) - quantile))
    first = recipe.privacy.clip_norm
    return min(first * _WIDEST, max(first / _WIDEST, wanted))


def is_allowed(recipe: Recipe, clip_norm: float) -> bool:
    """Whether an order may name this clipping norm. No norm costs privacy: noise is scaled to it."""
    first = recipe.privacy.clip_norm
    if recipe.privacy.target_quantile is None:
        return clip_norm == first
    return first / _WIDEST <= clip_norm <= first * _WIDEST
