"""An audit in one object, and in `audit.json`, with a verdict that needs no statistics to be understood.

LOCAL: the figures describe one site's records exactly; no noise protects them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from sealora_common.recipe import Recipe
from sealora_common.records.audits import CheckSummary, RocSummary, SiteAudit, TrialSummary
from sealora_common.show.quantities import epsilon_text


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


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
    def of(cls, recipe: Recipe, audit: SiteAudit) -> AuditSummary:
        """Of what a site's audit of `recipe` found."""
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
            verdict=verdict_on(audit.trial),
            trial=audit.trial,
            membership=audit.membership,
            seconds=audit.seconds,
        )


class SelfCheckSummary(_Figures):
    """Whether the audit catches what it should."""

    recipe: str
    recipe_hash: str
    passed: bool
    verdict: str
    checks: tuple[CheckSummary, ...]

    @classmethod
    def of(cls, recipe: Recipe, checks: Sequence[CheckSummary]) -> SelfCheckSummary:
        """Of the trials of a self-check with `recipe`."""
        missed = [check.fault for check in checks if check.fault is not None and not check.passed]
        alarms = [check for check in checks if check.fault is None and not check.passed]
        verdict = "Every fault was caught, and the sound engine was not accused."
        if missed:
            verdict = f"NOT caught: {', '.join(missed)}. An audit of this kind would not have noticed."
        if alarms:
            verdict = "The SOUND engine was accused: its claim is wrong, or this was the one audit in twenty that errs."
        return cls(
            recipe=recipe.name,
            recipe_hash=recipe.hash,
            passed=all(check.passed for check in checks),
            verdict=verdict,
            checks=tuple(checks),
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
