"""What is claimed of a training run, and what an audit tries to refute."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sealora_common.privacy.accounting import Mechanism, epsilon_pld
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
    def of(cls, recipe: Recipe, mechanism: Mechanism | None) -> Claim:
        """The claim about `recipe.rounds` rounds of `mechanism`."""
        if mechanism is None:
            return cls(None, 0.0)
        rounds = replace(mechanism, steps=recipe.rounds * mechanism.steps)
        return cls(epsilon_pld([rounds], recipe.privacy.delta), rounds.noise_multiplier)
