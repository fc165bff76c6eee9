"""The events that a recipe's epsilon buys."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sealora_common.privacy.calibration import calibrate_noise
from sealora_common.privacy.event import Noise, PrivacyEvent

if TYPE_CHECKING:
    from sealora_common.recipe import Recipe


def calibrated_round(recipe: Recipe, noise: Noise, grid_steps: int = 0) -> PrivacyEvent:
    """One round of training, with as much noise as lets all rounds and spare ones keep the recipe's promise.

    Args:
        recipe: sections `training` and `privacy` are read, and the rounds.
        noise: `gaussian`, or `skellam` on an integer grid.
        grid_steps: of that grid; 0 with `gaussian`.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
    """
    privacy, rate = recipe.privacy, recipe.training.sample_rate
    sigma = _calibrated(privacy.epsilon, privacy.delta, rate, recipe.accounted_steps, noise, grid_steps)
    return PrivacyEvent(sigma, rate, recipe.training.steps_per_round, noise, grid_steps)


def calibrated_evaluation(recipe: Recipe) -> PrivacyEvent:
    """One evaluation, likewise. Every record takes part in every one, so the sampling rate is 1.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
    """
    privacy = recipe.privacy
    sigma = _calibrated(privacy.epsilon, privacy.delta, 1.0, recipe.accounted_evaluations, "gaussian", 0)
    return PrivacyEvent(sigma, 1.0, 1)


@lru_cache(maxsize=256)  # calibration takes a second or so, and every round asks
def _calibrated(epsilon: float, delta: float, sample_rate: float, steps: int, noise: Noise, grid_steps: int) -> float:
    return calibrate_noise(epsilon, delta, sample_rate, steps, noise=noise, grid_steps=grid_steps)
