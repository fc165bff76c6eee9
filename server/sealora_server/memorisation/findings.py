"""A memorisation test in one object, and in `memorisation.json`: what the attacks found under each arm, and a verdict.

LOCAL: the figures are exact and of adapters that were trained on all sites' records; no noise protects them.
"""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from sealora_common.records.attacks.memorisation import DatumKind
from sealora_common.records.audits import RocSummary
from sealora_server.comparison.arms import ArmKind

SIMULATED: Final = (
    "All of it is simulated on one machine that holds every site's records, and every adapter was trained for the test "
    "and thrown away. The figures are exact, without noise, and no release: keep them where the records may lie."
)
BITES_FROM: Final = 0.2
"""Share of the planted data, above that of the others, that training without privacy must give away for the test to say
anything."""

LeakStanding = Literal["no more extracted", "more extracted", "too weak"]
ExtractionName = Literal["told", "continued", "ranked first"]
TraceName = Literal["ranked first", "exposure", "membership"]


class _Figures(BaseModel):
    """Strict, as a dossier reads it again."""

    model_config = ConfigDict(frozen=True, strict=True, use_attribute_docstrings=True)


class ShareFound(_Figures):
    """How many of so many."""

    found: int
    of: int
    share: float
    low: float
    """Of its 95 % interval (Wilson)."""
    high: float


class ExtractionFound(_Figures):
    """What one attack found, of planted data and of data that nobody trained on."""

    attack: ExtractionName
    planted: ShareFound
    held_back: ShareFound
    more: float
    """The first share minus the second."""
    more_low: float
    """Of its 95 % interval (Newcombe)."""
    more_high: float
    is_more: bool
    """Whether that lies above 0."""


class ExposureFound(_Figures):
    """The mean exposure in bits: the logarithm of the number of values, less that of the true one's rank."""

    planted: float
    held_back: float
    more: float
    more_low: float
    """Of its 95 % interval (normal approximation, variances apart)."""
    more_high: float
    is_more: bool


class MembershipFound(_Figures):
    """Telling planted records from others by how far their loss fell."""

    auc: float
    """Area under the receiver operating characteristic; 0.5 is chance."""
    auc_interval: tuple[float, float]
    true_positive_rate: float | None
    """At no more than 1 % false positives; null with fewer than 100 records that were held back."""
    true_positive_interval: tuple[float, float] | None
    held_back: int
    is_more: bool
    """Whether the area lies above 1/2 with all of its 95 % interval."""

    @classmethod
    def of(cls, roc: RocSummary) -> MembershipFound:
        """Without the curve, which would be long."""
        return cls(
            auc=roc.auc,
            auc_interval=roc.auc_interval,
            true_positive_rate=roc.true_positive_rate,
            true_positive_interval=roc.true_positive_interval,
            held_back=roc.non_members,
            is_more=roc.auc_interval[0] > 0.5,
        )


class KindFound(_Figures):
    """One kind of personal datum."""

    kind: DatumKind
    told: ShareFound
    held_back: ShareFound


class RepeatsFound(_Figures):
    """What was planted so many times."""

    repeats: int
    drawn: float
    """How often its records are expected to be drawn, together, in the whole run."""
    extractions: tuple[ExtractionFound, ...]
    exposure: ExposureFound
    membership: MembershipFound | None
    epsilon: float | None
    """What the recipe's promise comes to for so many records of one person; null where there is none."""
    delta: float | None
    allowed_told: float | None
    """The largest share of them that could be told under that promise; 1 where it bounds nothing."""
    allowed_true_positives: float | None
    """The largest true positive rate at 1 % false positives under that promise."""


class ArmFindings(_Figures):
    """What the attacks found under one arm, over all seeds."""

    kind: ArmKind
    key: str
    title: str
    what: str
    rounds: tuple[int, ...]
    """That were trained, by seed."""
    extractions: tuple[ExtractionFound, ...]
    exposure: ExposureFound
    membership: MembershipFound | None
    """Null where a loss is no number, as the model has diverged."""
    kinds: tuple[KindFound, ...]
    repeats: tuple[RepeatsFound, ...]
    unasked: int
    """Prompts that name nobody, of each seed."""
    unasked_planted: int
    """Planted values that stood in the answers to these, over all seeds."""
    unasked_held_back: int
    seconds: float
    """That the rounds took, the median over the seeds."""

    @property
    def told(self) -> ExtractionFound:
        """What was told to whoever asked for it."""
        return next(each for each in self.extractions if each.attack == "told")

    @property
    def extracted_by(self) -> tuple[ExtractionName, ...]:
        """The attacks that got more of planted data out than of others."""
        return tuple(each.attack for each in self.extractions if each.is_more and each.attack != "ranked first")

    @property
    def traced_by(self) -> tuple[TraceName, ...]:
        """The attacks that tell planted data from others without getting them out."""
        told: dict[TraceName, bool] = {
            "ranked first": any(each.is_more for each in self.extractions if each.attack == "ranked first"),
            "exposure": self.exposure.is_more,
            "membership": self.membership is not None and self.membership.is_more,
        }
        return tuple(name for name, is_more in told.items() if is_more)


class Memorisation(_Figures):
    """What `memorisation.json` holds."""

    recipe: str
    recipe_hash: str
    """Of the recipe with its base model's digest."""
    recipe_hash_as_given: str
    base_model: str
    mechanism: str
    unit: str
    """What privacy protects: `record` or `person`."""
    epsilon: float | None
    """Of the recipe's promise; null where nothing is promised."""
    delta: float | None
    sites: tuple[str, ...]
    attacker: str
    """The site that attacks: nothing was planted there."""
    secrets: int
    """Persons that were planted under each seed; as many others were held back."""
    repeats: tuple[int, ...]
    candidates: int
    wordings: int
    seeds: tuple[int, ...]
    rounds: int
    standing: LeakStanding
    verdict: str
    traces: tuple[TraceName, ...]
    """By what planted records were told from others under the recipe as it is, which epsilon need not exclude."""
    notes: tuple[str, ...]
    arms: tuple[ArmFindings, ...]
    """The recipe's among them."""
    simulated: str = SIMULATED

    @model_validator(mode="after")
    def _is_of_the_recipe(self) -> Self:
        if [arm.kind for arm in self.arms].count("federated") != 1:
            raise ValueError("arms names the recipe's own once")
        return self

    @property
    def of_recipe(self) -> ArmFindings:
        """Of the recipe as it is."""
        return next(arm for arm in self.arms if arm.kind == "federated")

    @property
    def of_control(self) -> ArmFindings:
        """Of training without privacy; the recipe's own where it has none."""
        return next((arm for arm in self.arms if arm.kind == "no-privacy"), self.of_recipe)
