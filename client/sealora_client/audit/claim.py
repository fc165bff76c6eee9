"""What is claimed of a training run, and what an audit tries to refute."""

from __future__ import annotations

from dataclasses import dataclass

from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe


@dataclass(frozen=True)
class Claim:
    """What the accountant proves of the rounds that ran.

    Attributes:
        epsilon: what a ledger charges for them at the recipe's delta, and the audit tries to refute; None without
            privacy.
        noise_multiplier: sigma of a step.
    """

    epsilon: float | None
    noise_multiplier: float

    @classmethod
    def of(cls, recipe: Recipe, plan: TrainingPlan) -> Claim:
        """The claim about `recipe.rounds` rounds of `plan`."""
        if not plan.protects:
            return cls(None, 0.0)
        rounds = plan.event.repeated(recipe.rounds)
        return cls(epsilon_pld([rounds], recipe.privacy.delta), rounds.noise_multiplier)
