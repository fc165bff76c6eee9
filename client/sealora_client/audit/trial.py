"""One training run with canaries in it, watched by two adversaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sealora_client.audit.attribution import CanaryGradients
from sealora_client.audit.canaries import Canaries
from sealora_client.audit.guessing import Guesses, best_guesses
from sealora_client.audit.releases import release_round
from sealora_client.audit.roc import Roc
from sealora_client.data.population import Population
from sealora_client.evaluation import heldout_loss
from sealora_client.model.adapted import AdaptedModel
from sealora_common.adapter import initial_adapter
from sealora_common.clip_norm import next_clip_norm
from sealora_common.entropy import Entropy
from sealora_common.privacy.accounting import Mechanism, epsilon_prv, epsilon_rdp
from sealora_common.privacy.plan import training_mechanism
from sealora_common.privacy.skellam import gaussian_equivalent
from sealora_common.recipe import Recipe

Adversary = Literal["white-box", "black-box"]
"""`white-box` sees what every round releases, `black-box` only how the final adapter changes a canary's loss."""

ServerStep = Callable[[int, NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""The server's optimiser: (round, adapter before, adapter after the release) -> next adapter, flat shared parts."""

SIGNIFICANCE = 0.05
"""Largest probability that any adversary's bound is too high: the bounds hold together at 95 %."""


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
            tight = Mechanism(gaussian_equivalent(rounds.noise_multiplier, rounds.units), rounds.sample_rate, rounds.steps)
        delta = recipe.privacy.delta
        return cls(epsilon_prv([tight], delta), epsilon_rdp([rounds], delta), rounds.noise_multiplier)


@dataclass(frozen=True)
class Finding:
    """What one adversary found.

    Attributes:
        adversary: who.
        guesses: its best guesses, and the lower bound on epsilon that they prove.
        roc: how well its score tells canaries that were in from those that were not.
    """

    adversary: Adversary
    guesses: Guesses
    roc: Roc


@dataclass(frozen=True)
class Trial:
    """A training run, and what the adversaries found.

    Attributes:
        claim: what is claimed of it.
        findings: one for each adversary.
        canaries: m.
        included: how many of them the coins put in.
    """

    claim: Claim
    findings: tuple[Finding, ...]
    canaries: int
    included: int

    @property
    def lower_bound(self) -> float:
        """The largest of the adversaries' lower bounds on epsilon."""
        return max(finding.guesses.lower_bound for finding in self.findings)

    @property
    def refutes_claim(self) -> bool:
        """Whether the claim is wrong, at 95 % confidence."""
        return self.claim.epsilon is not None and self.lower_bound > self.claim.epsilon


def run_trial(
    model: AdaptedModel,
    recipe: Recipe,
    canaries: Canaries,
    records: Population,
    *,
    known: Population,
    roster_size: int,
    server_step: ServerStep,
    entropy: Entropy,
    on_round: Callable[[int], None] | None = None,
) -> Trial:
    """Trains all rounds of `recipe` at one site, on canaries and records, and guesses which canaries were in.

    Only what rounds release and the final adapter enter the scores, besides what any adversary is granted: the base
    model, the recipe, the canaries and the other records. The number of units, which the coins vary, is public in the
    claim; guesses by rank do not use it.

    Args:
        model: holds the final adapter afterwards.
        recipe: what runs; with a mechanism other than `none` its rounds are what the claim is about.
        canaries: two units or more.
        records: the site's own units, all trained on; may be empty.
        known: those of `records` whose part in a release the white-box adversary works out.
        roster_size: sites of the federation.
        server_step: what the server makes of a release.
        entropy: draws samples and noise.
        on_round: called before each round with its number.

    Raises:
        SealoraError: the model cannot be trained as the recipe says.
    """
    mechanism = training_mechanism(recipe, roster_size)
    population = canaries.among(records)
    shared = model.layout.shared(recipe.lora.aggregation)
    tensors = initial_adapter(model.layout, recipe.lora.seed)
    adapter = shared.flatten(tensors)
    clip_norm = recipe.privacy.clip_norm
    attributed = np.zeros(len(canaries.population))
    with model.lock:
        model.write(tensors)
        before = heldout_loss(model, canaries.population, recipe.training.micro_batch_size).by_unit
        for round_number in range(1, recipe.rounds + 1):
            if on_round is not None:
                on_round(round_number)
            layout = model.layout.trained(recipe.lora.aggregation, round_number)
            gradients = CanaryGradients(
                model, layout, canaries.population, known, recipe=recipe, clip_norm=clip_norm
            )
            release = release_round(
                model,
                population,
                recipe=recipe,
                round_number=round_number,
                mechanism=mechanism,
                roster_size=roster_size,
                clip_norm=clip_norm,
                entropy=entropy,
            )
            attributed += gradients.coefficients(release.change)
            adapter = server_step(round_number, adapter, shared.add(adapter, layout, release.change))
            clip_norm = next_clip_norm(recipe, clip_norm, release.unclipped)
            model.write(shared.unflatten(adapter))
        after = heldout_loss(model, canaries.population, recipe.training.micro_batch_size).by_unit
    scores: dict[Adversary, NDArray[np.float64]] = {"white-box": attributed, "black-box": before - after}
    return Trial(
        claim=Claim.of(recipe, mechanism),
        findings=tuple(_finding(name, scores[name], canaries, recipe) for name in get_args(Adversary)),
        canaries=len(canaries.population),
        included=int(canaries.included.sum()),
    )


def _finding(adversary: Adversary, scores: NDArray[np.float64], canaries: Canaries, recipe: Recipe) -> Finding:
    share = SIGNIFICANCE / len(get_args(Adversary))
    guesses = best_guesses(scores, canaries.included, delta=recipe.privacy.delta, significance=share)
    return Finding(adversary, guesses, Roc.of(scores[canaries.included], scores[~canaries.included]))
