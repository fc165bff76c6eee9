"""What a recipe's rounds and evaluations cost, and how much noise that takes: the same at every site.

Two promises of the recipe's (epsilon, delta), over two disjoint sets of records. A training record is protected by
the noise on the clipped sums, a held-out one by the noise on the evaluations; one record is in one set only, so
neither spends from the other (parallel composition, McSherry 2009, Thm 4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from sealora_common.privacy.accounting import Mechanism, Noise, calibrate_noise
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe


@dataclass(frozen=True)
class WholeRun:
    """All that a run may release: its rounds of training with the spare ones, and its evaluations.

    Attributes:
        train: about a training record.
        heldout: about a held-out record.
    """

    train: Mechanism
    heldout: Mechanism


def whole_run(recipe: Recipe, roster_size: int) -> WholeRun | None:
    """What all rounds and evaluations of `recipe` release together; None without privacy.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
        RecipeError: the recipe asks for more honest survivors than a round is sure to have.
    """
    train, heldout = training_mechanism(recipe, roster_size), heldout_mechanism(recipe)
    if train is None or heldout is None:
        return None
    return WholeRun(
        train=replace(train, steps=recipe.accounted_steps),
        heldout=replace(heldout, steps=recipe.accounted_evaluations),
    )


def training_mechanism(recipe: Recipe, roster_size: int) -> Mechanism | None:
    """What one round of training releases about a site's training records; None without privacy.

    With `distributed` it is the opened sum's mechanism: what the recipe's number of honest survivors add in noise.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
        RecipeError: the recipe asks for more honest survivors than a round is sure to have.
    """
    privacy, training = recipe.privacy, recipe.training
    if not mechanism_of(recipe).protects:
        return None
    grid = mechanism_of(recipe).grid(recipe, roster_size)
    units = 0 if grid is None else grid.units
    noise_multiplier = _calibrated(privacy.epsilon, privacy.delta, training.sample_rate, recipe.accounted_steps, units)
    return _mechanism(noise_multiplier, training.sample_rate, training.steps_per_round, units)


def heldout_mechanism(recipe: Recipe) -> Mechanism | None:
    """What one evaluation releases about a site's held-out records; None without privacy.

    Every record takes part in every evaluation, so the sampling rate is 1.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
    """
    privacy = recipe.privacy
    if not mechanism_of(recipe).protects:
        return None
    noise_multiplier = _calibrated(privacy.epsilon, privacy.delta, 1.0, recipe.accounted_evaluations, 0)
    return Mechanism(noise_multiplier, 1.0, 1)


def _mechanism(noise_multiplier: float, sample_rate: float, steps: int, units: int) -> Mechanism:
    return Mechanism(noise_multiplier, sample_rate, steps, _noise(units), units)


@lru_cache(maxsize=256)  # calibration takes a second or so, and every round asks
def _calibrated(epsilon: float, delta: float, sample_rate: float, steps: int, units: int) -> float:
    return calibrate_noise(epsilon, delta, sample_rate, steps, noise=_noise(units), units=units)


def _noise(units: int) -> Noise:
    return "skellam" if units else "gaussian"
