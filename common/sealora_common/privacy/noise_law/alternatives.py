"""The same compute in fewer and larger steps, and more of it, each with its noise; and which to recommend.

Compute is q times the number of steps: how often a record is worked through. Noise for the same epsilon rises slowly
with q while the records of a step rise with it, so fewer and larger steps carry far less noise for the same compute.
Fewer steps also walk less far unless each is made longer, and a step cannot be made longer without end, nor can a run
of one or two correct its way: the recommendation keeps at least a quarter of the recipe's steps and no fewer than four,
and among those takes what `worth` puts highest if records agree as they do as a rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sealora_common.config.checked import checked
from sealora_common.errors import BudgetError, RecipeError, UnreadableError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.noise_law.step_noise import StepNoise, step_noise
from sealora_common.privacy.noise_law.worth import AGREEMENT, LEAST, worth
from sealora_common.recipe import Recipe

FEWER = (2, 3, 4, 8, 16)
"""So many times fewer steps, each so many times larger."""
MORE = (2, 4)
"""So many times the compute, in as many steps."""
_FEWEST_SHARE = 1 / 4
_FEWEST = 4
_WORTHWHILE = 1.2
"""A change is recommended from so much more worth on."""


@dataclass(frozen=True)
class Alternative:
    """The recipe with another q, and as a rule another number of steps.

    Attributes:
        recipe: with the changes made.
        compute: q times steps, over that of the recipe it is an alternative to, q rounded to four digits.
        step: its noise.
        changes: what to write, as the command line takes it: `("rounds=3", ...)`; none for the recipe itself.
    """

    recipe: Recipe
    compute: float
    step: StepNoise
    changes: tuple[str, ...] = ()


def alternatives(recipe: Recipe, units: Sequence[int]) -> tuple[Alternative, ...]:
    """The recipe itself, then fewer and larger steps, then more compute, as far as each is a recipe by itself.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
        RecipeError: as for `step_noise`.
    """
    found = [Alternative(recipe, 1.0, step_noise(recipe, units))]
    if found[0].step.noise:
        found += [made for wanted in _wanted(recipe) if (made := _made(recipe, units, *wanted)) is not None]
    return tuple(found)


def recommended(choices: Sequence[Alternative], parameters: int) -> Alternative | None:
    """Of the first choice, the recipe itself, and those at the same compute, the one to take; None for the first."""
    own = choices[0]
    best = max(_fitting(choices), key=lambda other: worth(other.step, parameters, AGREEMENT), default=own)
    least = _WORTHWHILE * worth(own.step, parameters, AGREEMENT)
    return best if worth(best.step, parameters, AGREEMENT) >= least else None


def advice(choices: Sequence[Alternative], usual: int, fewest: int) -> str:
    """What to do with the recipe, and why, in one sentence.

    Args:
        choices: of `alternatives`.
        usual: P, or what it is as a rule.
        fewest: P, or what it is at least.
    """
    own, best = choices[0], recommended(choices, usual)
    if not own.step.noise:
        return "Nothing is noised (privacy.mechanism: none), so noise speaks for no other q."
    fitting = (own, *_fitting(choices))
    at_best = max(worth(choice.step, fewest) for choice in fitting)
    if at_best < LEAST:
        return (
            f"First gather {own.recipe.data.unit}s: for the same compute no run of {fewest_steps(own)} steps or more "
            f"is worth more than {at_best:.2g} steps without noise at best."
        )
    if best is None:
        return (
            f"Leave q at {own.step.sample_rate:g}: for the same compute no run of {fewest_steps(own)} steps or more is "
            "worth a fifth more; fewer would carry less noise, and could hardly walk as far."
        )
    rate = "server" if mechanism_of(own.recipe).sums_on_grid else "training"
    return (
        f"Take {' '.join(best.changes)}: for the same compute the noise on a step falls from "
        f"{own.step.noise_in_units:.3g} to {best.step.noise_in_units:.3g} C/N, and the run is worth some "
        f"{worth(best.step, usual, AGREEMENT):.2g} steps without noise instead of "
        f"{worth(own.step, usual, AGREEMENT):.2g}; but {best.step.steps} steps walk less far than {own.step.steps}, so "
        f"raise {rate}.learning_rate, and judge by the held-out figure: noise does not tell what a run learns."
    )


def fewest_steps(own: Alternative) -> int:
    """Of a run that is recommended in place of this one."""
    return max(_FEWEST, math.ceil(_FEWEST_SHARE * own.step.steps))


def _fitting(choices: Sequence[Alternative]) -> list[Alternative]:
    fewest = fewest_steps(choices[0])
    return [other for other in choices[1:] if other.compute == 1 and other.step.steps >= fewest]


def _wanted(recipe: Recipe) -> Iterator[tuple[int, int, float]]:
    """Rounds, steps a round and compute of each alternative."""
    rounds, a_round = recipe.rounds, recipe.training.steps_per_round
    tried = {recipe.steps}
    for fewer in (*FEWER, recipe.steps):
        wanted = max(1, round(recipe.steps / fewer))
        shape = (rounds, max(1, round(wanted / rounds))) if wanted >= rounds else (wanted, 1)
        if math.prod(shape) not in tried:
            tried.add(math.prod(shape))
            yield *shape, 1.0
    for more in MORE:
        yield rounds, a_round, float(more)


def _made(recipe: Recipe, units: Sequence[int], rounds: int, a_round: int, compute: float) -> Alternative | None:
    """None where that is no recipe: q would be above 1, a schedule has no room, no noise keeps epsilon."""
    share = rounds * a_round / recipe.steps
    rate = float(f"{recipe.training.sample_rate * compute / share:.4g}")  # as it is written down
    training: dict[str, int | float] = {"sample_rate": rate, "steps_per_round": a_round}
    if recipe.training.warmup_steps:
        training["warmup_steps"] = round(recipe.training.warmup_steps * share)
    if recipe.training.epochs is not None:
        training["epochs"] = recipe.training.epochs * compute
    written = recipe.model_dump(mode="json")
    changed = {**written, "rounds": rounds, "training": {**written["training"], **training}}
    try:
        other = checked(Recipe, changed)
        step = step_noise(other, units)
    except (UnreadableError, BudgetError, RecipeError):
        return None
    changes = (f"rounds={rounds}",) * (rounds != recipe.rounds) + tuple(
        f"training.{name}={value:g}" for name, value in training.items() if value != written["training"][name]
    )
    return Alternative(other, compute, step, changes)
