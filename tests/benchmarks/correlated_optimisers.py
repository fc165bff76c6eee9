"""What Adam leaves of correlated noise: noise over signal in its iterates, by drawing them.

Correlated noise helps because what one step adds a later one takes back. That needs an optimiser which is linear in
gradients. Adam divides each by what it has lately seen, so part of the taking back is lost, and more where its moments
begin anew in every round, as those of a site's AdamW do.

A coordinate's gradient is a constant, `SIGNAL` of the standard deviation of the independent noise, plus noise. Noise
over signal is the root mean square of the iterates' standard deviations over the last iterate's mean: no learning rate
and no scale is in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from correlated_strategies import Array
from scipy.linalg import solve_triangular

SIGNAL = 0.1
STEPS_A_ROUND = 4


def sgd(gradients: Array) -> Array:
    """Iterates, of shape (steps, draws) like the gradients."""
    return np.cumsum(gradients, axis=0)


def fedadam(gradients: Array) -> Array:
    """The server's, with the demo's moments of 0.9 and 0.95; Flower corrects them as if they were a round older."""
    return _adam(gradients, 0.95, len(gradients), older=1)


def adamw_kept(gradients: Array) -> Array:
    """PyTorch's moments of 0.9 and 0.999, kept over the whole run: what no site does."""
    return _adam(gradients, 0.999, len(gradients))


def adamw_anew(gradients: Array) -> Array:
    """The same, begun anew every `STEPS_A_ROUND` steps: what a site does under `local`."""
    return _adam(gradients, 0.999, STEPS_A_ROUND)


OPTIMISERS: dict[str, Callable[[Array], Array]] = {
    "sgd": sgd,
    "fedadam": fedadam,
    "adamw_kept": adamw_kept,
    "adamw_anew": adamw_anew,
}


def noise_over_signal(
    optimiser: Callable[[Array], Array], steps: int, signal: float, noise: float, matrix: Array | None, draws: int
) -> float:
    """With gradients of `signal` plus `noise` times C^-1 z; the same z for the same `steps` and `draws`."""
    drawn = np.random.default_rng(20260103).standard_normal((steps, draws))
    if matrix is not None:
        drawn = solve_triangular(matrix, drawn, lower=True)
    iterates = optimiser(signal + noise * drawn)
    return float(math.sqrt(np.mean(np.var(iterates, axis=1))) / np.mean(iterates[-1]))


def _adam(gradients: Array, beta_2: float, reset: int, beta_1: float = 0.9, older: int = 0) -> Array:
    iterates = np.zeros_like(gradients)
    place = np.zeros(gradients.shape[1])
    first, second = np.zeros_like(place), np.zeros_like(place)
    for step, gradient in enumerate(gradients):
        if step % reset == 0:
            first, second = np.zeros_like(place), np.zeros_like(place)
        age = step % reset + 1 + older
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        place = place + first / (1 - beta_1**age) / (np.sqrt(second / (1 - beta_2**age)) + 1e-8)
        iterates[step] = place
    return iterates
