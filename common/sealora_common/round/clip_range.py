"""The public range of one coordinate of a weighted delta: first from the recipe, then from earlier sums.

A range that fits wastes no levels of the ring. It follows what everybody may know, the opened sum of the last round
and the mean fraction of coordinates that were clipped in it, never one site's delta.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sealora_common.recipe import Recipe
from sealora_common.secagg.rotation import BLOCK, rotated_length

_TOO_MUCH_CLIPPED = 1e-3
_NARROWEST = 1 / 64


def initial_range(recipe: Recipe) -> float:
    """The range R of the first round, and the widest of any, from the recipe alone.

    An Adam step moves a coordinate by about the learning rate at most (Kingma and Ba 2015, section 2.1), so a
    round of k steps by about k times that; half as much again is allowed. An SGD step on a mean of clipped
    gradients moves it by at most the learning rate times the clipping norm, noise aside, and with momentum m the s-th
    step by (1 - m^s) / (1 - m) times that. With the rotation that move is the standard deviation of a coordinate where
    all move alike, and six of them are allowed.
    """
    if recipe.sealing.clip_range != "auto":
        return recipe.sealing.clip_range
    per_step, momentum = recipe.training.learning_rate, recipe.training.momentum
    steps: float = recipe.training.steps_per_round
    if recipe.training.optimizer == "sgd":
        per_step *= recipe.privacy.clip_norm
        if momentum:
            steps = (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)
    return (6.0 if recipe.sealing.rotation else 1.5) * steps * per_step


def is_allowed_range(recipe: Recipe, clip_range: float) -> bool:
    """Whether an order may name this range: one that `initial_range` or `next_range` can give."""
    widest = initial_range(recipe)
    if recipe.sealing.clip_range != "auto":
        return clip_range == widest
    return widest * _NARROWEST <= clip_range <= widest


def next_range(
    recipe: Recipe,
    used: float,
    weighted_sum: NDArray[np.float64],
    clipped_fraction: float,
    growth: float = 1.0,
) -> float:
    """The range of the next round.

    Independent deltas add up to sqrt(n) times one of them and equal ones to n times, so a coordinate of the sum is
    hardly ever smaller than one site's; a quarter is added. With the rotation the coordinates of a block are nearly
    Gaussian with the block's own energy, and six standard deviations of the largest block's are taken. If more than
    a thousandth was clipped, the range doubles. As deltas go with the learning rate, so does the range.

    Args:
        recipe: `sealing.clip_range` other than `auto` fixes the range.
        used: the range of the round that was opened.
        weighted_sum: float64, shape (P,), the sum of the weighted deltas.
        clipped_fraction: mean fraction of coordinates outside the range used.
        growth: how much longer the next round's steps are than this one's, see `growth_of_steps`.
    """
    widest = initial_range(recipe)
    if recipe.sealing.clip_range != "auto":
        return widest
    if clipped_fraction > _TOO_MUCH_CLIPPED:
        return min(widest, 2.0 * used * max(1.0, growth))
    if recipe.sealing.rotation:
        wanted = 6.0 * _largest_rms(weighted_sum)
    else:
        wanted = 1.25 * float(np.abs(weighted_sum).max(initial=0.0))
    return min(widest, max(widest * _NARROWEST, wanted * growth))


def _largest_rms(weighted_sum: NDArray[np.float64]) -> float:
    """Root mean square of the rotated coordinates in the block that has most energy; a rotation keeps energies."""
    blocks = np.zeros(rotated_length(len(weighted_sum)))
    blocks[: len(weighted_sum)] = weighted_sum
    return float(np.sqrt(np.mean(blocks.reshape(-1, BLOCK) ** 2, axis=1).max(initial=0.0)))
