"""What noisy steps are worth beside steps without noise, and when noise drowns the records.

A step along g + n, g the mean gradient and n the noise, lowers a loss whose curvature is the same in all directions,
at the best learning rate, by

    1 / (1 + |n|^2 / |g|^2)

of what the step along g alone lowers it by: what is gained goes with |g|^2, what is lost with |g|^2 + |n|^2 (McCandlish
et al. 2018, arXiv:1812.06162, eq. 2.7 with H a multiple of the identity; there the noise is that of small batches, here
it is the mechanism's, |n|^2 = P times the variance on each parameter). Summed over a run's steps: it is worth so many
steps without noise. While noise outweighs records this is also the squared ratio of the way that the records pull,
T |g|, to that on which noise wanders, sqrt(T) |n|.

|g| is not known before training. At best, when all gradients are clipped and pull one way, it is the step's `reach`:
no run is worth more in this model. As a rule records agree less. `AGREEMENT` is what the demo's do late: the mean
clipped gradient of its three hospitals is 0.5 of the longest that it could be at the start, and 0.2 to 0.3 of it after
the six steps of `tests/benchmarks/utility.py` (by inner products of disjoint halves of samples: at one site 0.60, then
0.27 to 0.43; between sites 0.45, then 0.07 to 0.13).

What this is not: a learning curve. A model whose loss is flat in most directions bears noise in those for nothing, so
it may learn from far less than a whole step (the demo under `distributed`, worth 0.94 at best, recovers 90 % of what it
learns without noise); clipping, the sampling of the records themselves and a learning rate that is not the best take
more. It orders choices, and it tells the hopeless: recipes of docs/demo.md that learned are worth 0.13 and more at
best, and one that is worth `LEAST` walks at best a hundredth of its squared way where the records pull.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sealora_common.privacy.noise_law.step_noise import StepNoise, step_noise
from sealora_common.recipe import Recipe

AGREEMENT = 0.25
"""The norm of a mean clipped gradient over the largest that it can have, as a rule."""
LEAST = 0.01
"""Noise drowns the records of a run that is worth less than so many steps without noise, at best."""
FEWEST_ASSUMED = 1_000_000
"""Parameters that are taken where nobody knows how many are trained, for what is said of a run at best: a small LoRA's.
With more, noise is longer."""
USUAL_ASSUMED = 20_000_000
"""The same for what is said as a rule: some 22 million are B's of rank 16 on all linear layers of a model of 8 thousand
million."""


def worth(step: StepNoise, parameters: int, agreement: float = 1.0) -> float:
    """How many steps without noise the steps of a run are worth.

    Args:
        step: each of them.
        parameters: P, trained in it.
        agreement: the norm of the mean clipped gradient, as a share of `step.reach`; 1 is the best there can be.
    """
    pull = agreement * step.reach
    return step.steps * pull**2 / (pull**2 + step.norm(parameters) ** 2)


def drowned(recipe: Recipe, units: Sequence[int], parameters: int, *, condition: str = "") -> str | None:
    """One sentence if noise drowns the records of sites with so many units each, else None.

    It does if the whole run is worth less than `LEAST` steps without noise at best, or if a step draws less than one
    unit at all sites together, so that most steps are noise and nothing else. Without privacy it never does.

    Args:
        recipe: the recipe.
        units: N of each site.
        parameters: P, trained in a step.
        condition: what the sentence says of them before it goes on with "a step draws ...".

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
        RecipeError: as for `step_noise`.
    """
    step = step_noise(recipe, units)
    drawn, at_best = sum(step.expected), worth(step, parameters)
    if not step.noise or (drawn >= 1 and at_best >= LEAST):
        return None
    noun = f"{recipe.data.unit}s"
    return (
        f"noise drowns the {noun}: {condition}a step draws {_short(drawn)} of all sites' {sum(units):,} {noun}, and "
        f"its noise on {parameters:,} parameters is as long as {_short(step.as_many_units(parameters))} that pull one "
        f"way, so all {step.steps} steps are worth at best {_short(at_best)} steps without noise, and below {LEAST:g} "
        f"next to nothing is learned: gather {_short(_factor(step, parameters))} times as many {noun}, or agree on a "
        "larger training.sample_rate"
    )


def _factor(step: StepNoise, parameters: int) -> float:
    """How many times the units would do, noise going down as they go up; rounded up to two digits."""
    ratio = LEAST / (step.steps - LEAST)  # of squared lengths, at which the run is worth LEAST
    factor = max(math.sqrt(ratio) * step.norm(parameters) / step.reach, 1 / sum(step.expected))
    digit = 10.0 ** (math.floor(math.log10(factor)) - 1)
    return math.ceil(factor / digit) * digit


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
