"""What having tuned on private records costs: every trial counts as released, at the noise that it was trained with.

Which values are chosen follows from what all trials showed, so choosing is a release of all of them (Papernot & Steinke
2022, arXiv:2110.03620, show what it gives away otherwise). Their bound, far smaller, is for a number of trials that is
drawn at random; here the person says it, so what is composed is everything.

A training record is in no held-out set. So the one sum is of all rounds of all trials, the other of all figures that
were looked at, and a record pays one of the two (parallel composition, McSherry 2009, Thm 4). That the noise of a trial
follows from its values does no harm, as those were drawn without a look at any figure (`suggestion`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe
from sealora_common.show.quantities import count_text, epsilon_text, target_text


class TuningPrice(BaseModel):
    """What was spent of each site's data before the run that is tuned for."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    unit: str
    """What privacy protects: `record` or `person`."""
    runs: int
    """Trainings that are composed: trials that were trained, times the seeds."""
    figures: int
    """Noisy held-out figures that are."""
    train_epsilon: float
    """Of a training record (person)."""
    heldout_epsilon: float
    """Of a held-out one."""
    epsilon: float
    """The larger of the two."""
    delta: float
    """The recipe's."""
    run_epsilon: float
    """What a run of the recipe promises by itself: it comes on top."""
    with_run_epsilon: float
    """Of tuning and one such run together, at twice the delta."""

    @property
    def sentence(self) -> str:
        """The price in words."""
        return (
            f"Tuning has cost epsilon {epsilon_text(self.epsilon)} at delta {target_text(self.delta)} "
            f"({count_text(self.runs, 'training')}: {epsilon_text(self.train_epsilon)} of a trained {self.unit}; "
            f"{count_text(self.figures, 'figure')}: {epsilon_text(self.heldout_epsilon)} of a held-out one). "
            "The chosen values are a release at that price; with a run of the recipe itself it is epsilon "
            f"{epsilon_text(self.with_run_epsilon)} at delta {target_text(2 * self.delta)}."
        )


@dataclass(frozen=True)
class TrialEvents:
    """What is released by trials, by the part of a site's data that it costs."""

    train: tuple[PrivacyEvent, ...]
    heldout: tuple[PrivacyEvent, ...]


def figures_looked_at(recipe: Recipe) -> int:
    """How many noisy held-out figures one training of a trial tells at the most."""
    return recipe.accounted_evaluations if recipe.server.compares_rounds else 1


def events_of_trials(recipes: Sequence[Recipe], seeds: int, roster_size: int) -> TrialEvents:
    """All that trials of these recipes release.

    A trial that ended early counts as if it had gone to its end, which costs no less.

    Args:
        recipes: of the trials that are trained.
        seeds: how often each is, with noise of its own.
        roster_size: sites of the federation.

    Raises:
        BudgetError: no amount of noise reaches a recipe's epsilon.
        RecipeError: see `privacy_plan`.
    """
    train, heldout = [], []
    for recipe in recipes:
        plan = privacy_plan(recipe, roster_size)
        train.append(plan.training.event.repeated(recipe.rounds * seeds))
        heldout.append(plan.heldout.event.repeated(figures_looked_at(recipe) * seeds))
    return TrialEvents(tuple(train), tuple(heldout))


def tuning_price(recipe: Recipe, tried: Sequence[Recipe], seeds: int, roster_size: int) -> TuningPrice:
    """What trials of the recipes `tried` cost, under the delta of `recipe`, which all of them share.

    Raises:
        BudgetError: see `events_of_trials`.
        RecipeError: likewise.
    """
    events, delta = events_of_trials(tried, seeds, roster_size), recipe.privacy.delta
    train, heldout = epsilon_pld(events.train, delta), epsilon_pld(events.heldout, delta)
    return TuningPrice(
        unit=recipe.data.unit,
        runs=len(tried) * seeds,
        figures=sum(event.steps for event in events.heldout),
        train_epsilon=train,
        heldout_epsilon=heldout,
        epsilon=max(train, heldout),
        delta=delta,
        run_epsilon=recipe.privacy.epsilon,
        # Basic composition, which holds though the run's values were chosen by what tuning showed.
        with_run_epsilon=max(train, heldout) + recipe.privacy.epsilon,
    )
