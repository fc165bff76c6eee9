"""One training run with canaries in it, watched by two adversaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sealora_client.audit.attribution import CanaryGradients
from sealora_client.audit.canaries import Canaries
from sealora_client.audit.claim import Claim
from sealora_client.audit.guessing import Guesses, best_guesses, perfect_guesses
from sealora_client.audit.releases import release_round
from sealora_client.audit.roc import Roc
from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import Entropy
from sealora_common.errors import ModelError
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe
from sealora_common.records.audits import AdversarySummary, TrialSummary
from sealora_common.round.clip_norm import next_clip_norm

Adversary = Literal["white-box", "black-box"]
"""`white-box` sees what every round releases, `black-box` only how the final adapter changes a canary's loss."""

ServerStep = Callable[[int, NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""The server's optimiser: (round, adapter before, adapter after the release) -> next adapter, flat shared parts."""

SIGNIFICANCE = 0.05
"""Largest probability that any adversary's bound is too high: the bounds hold together at 95 %."""

_ADVERSARIES: tuple[Adversary, ...] = get_args(Adversary)
_SHARE = SIGNIFICANCE / len(_ADVERSARIES)


@dataclass(frozen=True)
class AttackResult:
    """What one adversary found.

    Attributes:
        adversary: who.
        guesses: its best guesses, and the lower bound on epsilon that they prove.
        roc: how well its score tells canaries that were in from those that were not.
    """

    adversary: Adversary
    guesses: Guesses
    roc: Roc

    def summary(self) -> AdversarySummary:
        """What of it is told."""
        return AdversarySummary(
            adversary=self.adversary,
            lower_bound=self.guesses.lower_bound,
            guessed_in=self.guesses.guessed_in,
            guessed_out=self.guesses.guessed_out,
            correct=self.guesses.correct,
            roc=self.roc.summary(),
        )


@dataclass(frozen=True)
class Trial:
    """A training run, and what the adversaries found.

    Attributes:
        claim: what is claimed of it.
        findings: one for each adversary.
        canaries: m.
        included: how many of them the coins put in.
        largest_bound: the lower bound on epsilon that perfect guesses would prove; a claim above it was not tested.
    """

    claim: Claim
    findings: tuple[AttackResult, ...]
    canaries: int
    included: int
    largest_bound: float

    @property
    def lower_bound(self) -> float:
        """The largest of the adversaries' lower bounds on epsilon."""
        return max(finding.guesses.lower_bound for finding in self.findings)

    @property
    def refutes_claim(self) -> bool:
        """Whether the claim is wrong, at 95 % confidence."""
        return self.claim.epsilon is not None and self.lower_bound > self.claim.epsilon

    def summary(self) -> TrialSummary:
        """What of it is told."""
        return TrialSummary(
            claim=self.claim.epsilon,
            noise_multiplier=self.claim.noise_multiplier,
            canaries=self.canaries,
            included=self.included,
            lower_bound=self.lower_bound,
            largest_bound=self.largest_bound,
            refuted=self.refutes_claim,
            adversaries=tuple(finding.summary() for finding in self.findings),
        )


@dataclass(frozen=True)
class Start:
    """What can be told before anything is trained, so it serves every trial on the same canaries.

    Attributes:
        losses: float64, shape (m,): of the canaries under the initial adapter, nats a token.
        gradients: the canaries', at the initial adapter.
    """

    losses: NDArray[np.float64]
    gradients: CanaryGradients

    @classmethod
    def of(cls, model: AdaptedModel, recipe: Recipe, canaries: Population, known: Population) -> Start:
        """Of `canaries` and `known` as for `run_trial`; leaves the initial adapter in the model."""
        with model.lock:
            model.write(adapter_kind(recipe).initial(model.layout))
            losses = _losses(model, recipe, canaries)
            return cls(losses, _gradients(model, recipe, 1, canaries, known, recipe.privacy.clip_norm))


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
    start: Start | None = None,
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
        start: of the same canaries and recipe, if it is there already.
        on_round: called before each round with its number.

    Raises:
        SealoraError: the model cannot be trained as the recipe says.
    """
    start = start or Start.of(model, recipe, canaries.population, known)
    plan = privacy_plan(recipe, roster_size).training
    population = canaries.among(records)
    shared = adapter_kind(recipe).shared(model.layout)
    tensors = adapter_kind(recipe).initial(model.layout)
    adapter = shared.flatten(tensors)
    clip_norm = recipe.privacy.clip_norm
    attributed = np.zeros(len(canaries.population))
    with model.lock:
        model.write(tensors)
        for number in range(1, recipe.rounds + 1):
            if on_round is not None:
                on_round(number)
            gradients = start.gradients
            if number > 1:
                gradients = _gradients(model, recipe, number, canaries.population, known, clip_norm)
            release = release_round(
                model,
                population,
                recipe=recipe,
                round_number=number,
                plan=plan,
                clip_norm=clip_norm,
                entropy=entropy,
            )
            attributed += gradients.coefficients(release.change)
            trained = adapter_kind(recipe).trained(model.layout, number)
            adapter = server_step(number, adapter, shared.add(adapter, trained, release.change))
            clip_norm = next_clip_norm(recipe, clip_norm, release.unclipped)
            model.write(shared.unflatten(adapter))
        learnt = start.losses - _losses(model, recipe, canaries.population)
    scores: dict[Adversary, NDArray[np.float64]] = {"white-box": attributed, "black-box": learnt}
    count, delta = len(canaries.population), recipe.privacy.delta
    return Trial(
        claim=Claim.of(recipe, plan),
        findings=tuple(_finding(name, scores[name], canaries, delta) for name in _ADVERSARIES),
        canaries=count,
        included=int(canaries.included.sum()),
        largest_bound=perfect_guesses(count, delta=delta, significance=_SHARE).lower_bound,
    )


def _gradients(
    model: AdaptedModel, recipe: Recipe, number: int, canaries: Population, known: Population, clip_norm: float
) -> CanaryGradients:
    layout = adapter_kind(recipe).trained(model.layout, number)
    return CanaryGradients(model, layout, canaries, known, recipe=recipe, clip_norm=clip_norm)


def _losses(model: AdaptedModel, recipe: Recipe, canaries: Population) -> NDArray[np.float64]:
    losses = HeldoutLossMetric().measure(model, canaries, recipe).by_unit
    if not np.isfinite(losses).all():
        raise ModelError(
            "a canary's loss is not a number: lower training.learning_rate, or compute in bfloat16 or float32"
        )
    return losses


def _finding(adversary: Adversary, scores: NDArray[np.float64], canaries: Canaries, delta: float) -> AttackResult:
    guesses = best_guesses(scores, canaries.included, delta=delta, significance=_SHARE)
    return AttackResult(adversary, guesses, Roc.of(scores[canaries.included], scores[~canaries.included]))
