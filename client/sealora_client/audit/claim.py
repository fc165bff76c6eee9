"""What is claimed of a training run, and what an audit tries to refute."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sealora_common.privacy.accounting import Mechanism, epsilon_prv, epsilon_rdp
from sealora_common.privacy.skellam import gaussian_equivalent
from sealora_common.recipe import Recipe


@dataclass(frozen=True)
class Claim:
    """What the accountants prove of the rounds that ran.

    Attributes:
        epsilon: the smallest epsilon they prove at the recipe's delta, which is what the audit tries to refute; None
            without privacy.
        ledger_epsilon: what a ledger charges for the same rounds; not smaller.
        noise_multiplier: sigma of a step.
    """

    epsilon: float | None
    ledger_epsilon: float | None
    noise_multiplier: float

    @classmethod
    def of(cls, recipe: Recipe, mechanism: Mechanism | None) -> Claim:
        """The claim about `recipe.rounds` rounds of `mechanism`."""
        if mechanism is None:
            return cls(None, None, 0.0)
        rounds = replace(mechanism, steps=recipe.rounds * mechanism.steps)
        tight = rounds
        if rounds.noise == "skellam":
            tight = Mechanism(
                gaussian_equivalent(rounds.noise_multiplier, rounds.units), rounds.sample_rate, rounds.steps
            )
        delta = recipe.privacy.delta
        return cls(epsilon_prv([tight], delta), epsilon_rdp([rounds], delta), rounds.noise_multiplier)
