"""The learning rate of a step: a pure function of the recipe and the step's number in the run.

So it is the same at every site, at the server and after a resume, and an attempt that is repeated has the rate that the
lost one had. Under `local` and `none` the steps are the site's (`training.learning_rate`); under `distributed` a round
is one step and the server takes it (`server.learning_rate`).

>>> from sealora_common.recipe import parse_recipe
>>> recipe = parse_recipe("{name: r, rounds: 2, model: {base: m}, training: {steps_per_round: 2, schedule: linear}}")
>>> [rate_factor(recipe, step) for step in range(4)]
[1.0, 0.75, 0.5, 0.25]
"""

from __future__ import annotations

import math

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe


def rate_factor(recipe: Recipe, step: int) -> float:
    """What the learning rate is multiplied by in a step, above 0 and at most 1.

    Of transformers' schedules with warm-up (`get_linear_schedule_with_warmup`, `get_cosine_schedule_with_warmup`,
    `get_constant_schedule_with_warmup`) these are all steps but the first, whose rate is zero: nobody pays for noise on
    a step that goes nowhere. So `warmup_steps` steps are below the full rate, as there; without a warm-up nothing
    differs.

    Args:
        recipe: section `training` is read, and the rounds.
        step: of the run, the first is 0: (round - 1) * steps_per_round + step of the round.
    """
    training = recipe.training
    if step < training.warmup_steps:
        return (step + 1) / (training.warmup_steps + 1)
    if training.schedule == "constant":
        return 1.0
    progress = (step - training.warmup_steps) / (recipe.steps - training.warmup_steps)
    if training.schedule == "linear":
        return 1.0 - progress
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def learning_rate(recipe: Recipe, round_number: int, step: int) -> float:
    """`training.learning_rate` in a step of a round, as the schedule has it; the first round is 1, its first step 0."""
    return recipe.training.learning_rate * rate_factor(recipe, _first_step(recipe, round_number) + step)


def server_learning_rate(recipe: Recipe, round_number: int) -> float:
    """`server.learning_rate` in a round (first is 1): scheduled where the server takes the step along the gradient."""
    if recipe.training.is_constant:
        return recipe.server.learning_rate
    scheduled = mechanism_of(recipe).sums_on_grid
    return recipe.server.learning_rate * (rate_factor(recipe, round_number - 1) if scheduled else 1.0)


def growth_of_steps(recipe: Recipe, round_number: int) -> float:
    """How much longer the next round's steps are together than this one's, by the schedule alone; 1 after the last."""
    if recipe.training.is_constant or round_number >= recipe.rounds:
        return 1.0
    return sum(_factors(recipe, round_number + 1)) / sum(_factors(recipe, round_number))


def _factors(recipe: Recipe, round_number: int) -> list[float]:
    first = _first_step(recipe, round_number)
    return [rate_factor(recipe, first + step) for step in range(recipe.training.steps_per_round)]


def _first_step(recipe: Recipe, round_number: int) -> int:
    return (round_number - 1) * recipe.training.steps_per_round
