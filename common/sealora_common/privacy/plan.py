"""The plan of a run's privacy: what its rounds and evaluations do and cost, made in one place, the same at every site.

Two promises of the recipe's (epsilon, delta), over two disjoint sets of records. A training record is protected by
the noise on the clipped sums, a held-out one by the noise on the evaluations; one record is in one set only, so
neither spends from the other (parallel composition, McSherry 2009, Thm 4).

The model is jax_privacy's execution plan: one object holds what samples, what clips, what noises and the event that
the accountant composes. Training, evaluation, the ledger's charges, the budget report, the checks and the audit are
all handed this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sealora_common.privacy.event import PrivacyEvent
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.releases import HeldoutPlan, TrainingPlan
from sealora_common.recipe import Recipe

Part = Literal["train", "heldout"]
"""Of a site's data."""


@dataclass(frozen=True)
class PlannedCharge:
    """What a run charges one part of a site's data.

    Attributes:
        part: of the data.
        event: one round of training, or one evaluation.
        times: how many of them the run may take, the spare ones among them.
        once: whether what is charged for may leave once only: it carries its own noise and is sent again for nothing.
    """

    part: Part
    event: PrivacyEvent
    times: int
    once: bool

    @property
    def whole_run(self) -> PrivacyEvent:
        """All of them together."""
        return self.event.repeated(self.times)


@dataclass(frozen=True)
class PrivacyPlan:
    """All that a run may release, and how.

    Attributes:
        training: one round.
        heldout: one evaluation.
        rounds: of training that the noise is calibrated for, the spare ones among them.
        evaluations: that the noise is calibrated for.
        repeats_are_charged: whether a repeated round of training has noise of its own and costs as much again.
    """

    training: TrainingPlan
    heldout: HeldoutPlan
    rounds: int
    evaluations: int
    repeats_are_charged: bool

    @property
    def charges(self) -> tuple[PlannedCharge, ...]:
        """What is charged for, training first; empty where nothing is promised."""
        train = PlannedCharge("train", self.training.event, self.rounds, once=not self.repeats_are_charged)
        heldout = PlannedCharge("heldout", self.heldout.event, self.evaluations, once=True)
        return (train,) * self.training.protects + (heldout,) * self.heldout.protects

    def charge(self, part: Part) -> PlannedCharge | None:
        """What one round, or one evaluation, is charged; None where nothing is promised."""
        return next((each for each in self.charges if each.part == part), None)


def privacy_plan(recipe: Recipe, roster_size: int) -> PrivacyPlan:
    """The plan of a run of `recipe` among `roster_size` sites.

    Calibration takes a second or so when it is first asked for; afterwards it is remembered.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
        RecipeError: the recipe asks for more honest survivors than a round is sure to have, or its sum does not fit
            the ring.
    """
    mechanism = mechanism_of(recipe)
    return PrivacyPlan(
        training=mechanism.training_plan(recipe, roster_size),
        heldout=mechanism.heldout_plan(recipe),
        rounds=recipe.accounted_rounds,
        evaluations=recipe.accounted_evaluations,
        repeats_are_charged=mechanism.repeat == "charged",
    )
