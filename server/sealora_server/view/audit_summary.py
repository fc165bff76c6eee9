"""An audit in one object, and in `audit.json`, with a verdict that needs no statistics to be understood.

LOCAL: the figures describe one site's records exactly; no noise protects them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from sealora_common.recipe import Recipe
from sealora_server.view.quantities import epsilon_text

FALSE_POSITIVE_RATE = 0.01
"""Where the true positive rate is told: one false alarm in a hundred."""


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class RocSummary(_Figures):
    """How well a score tells members from non-members."""

    auc: float
    """Area under the curve; 0.5 is chance."""
    auc_interval: tuple[float, float]
    true_positive_rate: float | None
    """At no more than 1 % false positives; null with fewer than 100 non-members."""
    true_positive_interval: tuple[float, float] | None
    members: int
    non_members: int
    curve: tuple[tuple[float, float], ...]
    """(false positive rate, true positive rate), ascending."""

    @classmethod
    def of(cls, roc: Any) -> RocSummary:
        """Of a `sealora_client.audit.roc.Roc`."""
        rate, interval = roc.true_positives_at(FALSE_POSITIVE_RATE) or (None, None)
        return cls(
            auc=roc.auc,
            auc_interval=roc.auc_interval,
            true_positive_rate=rate,
            true_positive_interval=interval,
            members=roc.members,
            non_members=roc.non_members,
            curve=tuple(zip(roc.false_positive_rate.tolist(), roc.true_positive_rate.tolist(), strict=True)),
        )


class AdversarySummary(_Figures):
    """What one adversary found about the canaries."""

    adversary: str
    lower_bound: float
    guessed_in: int
    guessed_out: int
    correct: int
    roc: RocSummary


class TrialSummary(_Figures):
    """A training run with canaries: what is claimed, and what was found."""

    claim: float | None
    """What the accountant proves of the rounds that ran, and a ledger charges for them; null without privacy."""
    noise_multiplier: float
    canaries: int
    included: int
    lower_bound: float
    """Epsilon is at least this, at 95 % confidence."""
    largest_bound: float
    """What perfect guesses would have proved."""
    refuted: bool
    adversaries: tuple[AdversarySummary, ...]

    @classmethod
    def of(cls, trial: Any) -> TrialSummary:
        """Of a `sealora_client.audit.trial.Trial`."""
        return cls(
            claim=trial.claim.epsilon,
            noise_multiplier=trial.claim.noise_multiplier,
            canaries=trial.canaries,
            included=trial.included,
            lower_bound=trial.lower_bound,
            largest_bound=trial.largest_bound,
            refuted=trial.refutes_claim,
            adversaries=tuple(
                AdversarySummary(
                    adversary=finding.adversary,
                    lower_bound=finding.guesses.lower_bound,
                    guessed_in=finding.guesses.guessed_in,
                    guessed_out=finding.guesses.guessed_out,
                    correct=finding.guesses.correct,
                    roc=RocSummary.of(finding.roc),
                )
                for finding in trial.findings
            ),
        )


class AuditSummary(_Figures):
    """The audit of a recipe at one site."""

    recipe: str
    recipe_hash: str
    site: str
    unit: str
    """What privacy protects: `record` or `person`."""
    units: int
    mechanism: str
    rounds: int
    steps: int
    sample_rate: float
    delta: float
    confidence: float = 0.95
    verdict: str
    trial: TrialSummary
    membership: RocSummary
    seconds: float

    @classmethod
    def of(cls, recipe: Recipe, audit: Any) -> AuditSummary:
        """Of a `sealora_client.audit.site_audit.SiteAudit`."""
        trial = TrialSummary.of(audit.trial)
        return cls(
            recipe=recipe.name,
            recipe_hash=recipe.hash,
            site=audit.site,
            unit=recipe.data.unit,
            units=audit.units,
            mechanism=recipe.privacy.mechanism,
            rounds=recipe.rounds,
            steps=recipe.rounds * recipe.training.steps_per_round,
            sample_rate=recipe.training.sample_rate,
            delta=recipe.privacy.delta,
            verdict=verdict_on(trial),
            trial=trial,
            membership=RocSummary.of(audit.membership),
            seconds=audit.seconds,
        )


class CheckSummary(_Figures):
    """One trial of the self-check."""

    fault: str | None
    """What was broken in the engine; null for the sound one."""
    passed: bool
    trial: TrialSummary


class SelfCheckSummary(_Figures):
    """Whether the audit catches what it should."""

    recipe: str
    recipe_hash: str
    passed: bool
    verdict: str
    checks: tuple[CheckSummary, ...]

    @classmethod
    def of(cls, recipe: Recipe, checks: Sequence[Any]) -> SelfCheckSummary:
        """Of several `sealora_client.audit.self_check.Check`."""
        summaries = tuple(
            CheckSummary(fault=check.fault, passed=check.passed, trial=TrialSummary.of(check.trial)) for check in checks
        )
        missed = [check.fault for check in summaries if check.fault is not None and not check.passed]
        alarms = [check for check in summaries if check.fault is None and not check.passed]
        verdict = "Every fault was caught, and the sound engine was not accused."
        if missed:
            verdict = f"NOT caught: {', '.join(missed)}. An audit of this kind would not have noticed."
        if alarms:
            verdict = "The SOUND engine was accused: its claim is wrong, or this was the one audit in twenty that errs."
        return cls(
            recipe=recipe.name,
            recipe_hash=recipe.hash,
            passed=all(check.passed for check in summaries),
            verdict=verdict,
            checks=summaries,
        )


def verdict_on(trial: TrialSummary) -> str:
    """One sentence for whoever answers for the data, and what to do about it."""
    proved = f"{trial.lower_bound:.2f}"
    if trial.claim is None:
        return (
            f"The recipe claims no privacy: by this training run alone an epsilon of at least {proved} is proved, and "
            "there is no upper limit. Do not hand the adapter out."
        )
    claim = epsilon_text(trial.claim)
    if trial.refuted:
        return (
            f"The claim is refuted: the training gives away more than epsilon {claim} allows, at least {proved}. Do "
            "not train with this installation, and report it."
        )
    if trial.largest_bound <= trial.claim:
        return (
            f"Nothing contradicts the claim, but the test was weak: with {trial.canaries} canaries even perfect "
            f"guesses prove no more than {trial.largest_bound:.2f}, and epsilon {claim} is claimed. Take more "
            "canaries, or trust the self-check to say whether the engine's faults show."
        )
    return f"Nothing contradicts the claim: the attacks prove an epsilon of at least {proved}, and {claim} is claimed."


def allowed_rate(false_positive_rate: float, epsilon: float, delta: float) -> float:
    """The largest true positive rate of any attack on an (epsilon, delta)-private training (Kairouz, Oh & Viswanath
    2015, arXiv:1311.0776, Thm 2.1)."""
    steep = math.exp(min(epsilon, 700.0)) * false_positive_rate + delta
    flat = 1 - math.exp(-epsilon) * (1 - delta - false_positive_rate)
    return min(1.0, steep, flat)
