"""What an audit of one site found: what the site package tells, and `sealora audit` shows.

LOCAL: the figures describe one site's records exactly; no noise protects them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

FALSE_POSITIVE_RATE = 0.01
"""Where the true positive rate is told: one false alarm in a hundred."""


class _Found(BaseModel):
    """Not a `WrittenRecord`: a bound may be infinite, and newer fields would be another verdict."""

    model_config = ConfigDict(frozen=True, strict=True, use_attribute_docstrings=True)


class RocSummary(_Found):
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


class AdversarySummary(_Found):
    """What one adversary found about the canaries."""

    adversary: str
    lower_bound: float
    guessed_in: int
    guessed_out: int
    correct: int
    roc: RocSummary


class TrialSummary(_Found):
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


class CheckSummary(_Found):
    """One trial of the self-check."""

    fault: str | None
    """What was broken in the engine; null for the sound one."""
    passed: bool
    trial: TrialSummary


class SiteAudit(_Found):
    """The audit of a recipe at one site."""

    site: str
    """Whose records were trained on."""
    units: int
    """How many records (persons) of its own."""
    trial: TrialSummary
    """What two adversaries found of the canaries."""
    membership: RocSummary
    """How well the loss tells the site's own trained units from its held-out ones."""
    seconds: float
    """How long it took."""
