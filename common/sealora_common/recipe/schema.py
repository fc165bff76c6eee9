"""A whole recipe: its sections, and what they must agree on with each other."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from sealora_common.config import Name
from sealora_common.recipe.hash import AddedLater, agreed_hash
from sealora_common.recipe.sections.data import DataSection
from sealora_common.recipe.sections.evaluation import EvaluationSection
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection
from sealora_common.recipe.sections.objective import ObjectiveSection
from sealora_common.recipe.sections.privacy import PrivacySection
from sealora_common.recipe.sections.sealing import SealingSection
from sealora_common.recipe.sections.section import Section
from sealora_common.recipe.sections.server import ServerSection
from sealora_common.recipe.sections.sites import SitesSection
from sealora_common.recipe.sections.training import TrainingSection


class Recipe(Section):
    """A whole recipe."""

    name: Name
    rounds: int = Field(ge=1, le=100_000)
    model: ModelSection
    lora: LoraSection = LoraSection()
    data: DataSection = DataSection()
    objective: Annotated[ObjectiveSection, AddedLater({})] = ObjectiveSection()
    training: TrainingSection = TrainingSection()
    evaluation: Annotated[EvaluationSection, AddedLater({})] = EvaluationSection()
    privacy: PrivacySection = PrivacySection()
    sealing: SealingSection = SealingSection()
    server: ServerSection = ServerSection()
    sites: SitesSection = SitesSection()

    @model_validator(mode="after")
    def _sections_agree(self) -> Recipe:
        if self.lora.aggregation == "alternating" and self.server.optimizer != "fedavg":
            raise ValueError(
                f"lora.aggregation: alternating works with server.optimizer: fedavg only, not "
                f"{self.server.optimizer!r} (its momentum would move the half that rests)"
            )
        self.objective.require_fitting(self.data, self.privacy)
        self.evaluation.require_fitting(self.objective)
        # Late, for the mechanisms' grid reads recipes.
        from sealora_common.privacy.mechanisms import mechanism_of

        mechanism_of(self).require(self)
        if self.sites.minimum < self.sealing.groups * self.sealing.min_survivors and self.sealing.groups > 1:
            raise ValueError(
                f"sites.minimum is {self.sites.minimum}, but sealing.groups is {self.sealing.groups} and each group "
                f"needs sealing.min_survivors {self.sealing.min_survivors} of its own: set sites.minimum to "
                f"{self.sealing.groups * self.sealing.min_survivors} or more, or take fewer groups"
            )
        if self.sites.minimum < self.sealing.min_survivors:
            raise ValueError(
                f"sites.minimum is {self.sites.minimum}, below sealing.min_survivors "
                f"{self.sealing.min_survivors}: no round could ever be opened"
            )
        return self

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of what the parties agree on, see `recipe.hash`; the order of fields is no part of it."""
        return agreed_hash(self)

    @property
    def accounted_steps(self) -> int:
        """DP-SGD steps the noise is calibrated for: those of all rounds and of the spare ones."""
        return self.accounted_rounds * self.training.steps_per_round

    @property
    def accounted_rounds(self) -> int:
        """Rounds of training the noise is calibrated for: those of the recipe and the spare ones."""
        return self.rounds + self.privacy.spare_rounds

    def evaluates(self, round_number: int) -> bool:
        """Whether held-out records are evaluated in this round (first is 1; after the last comes one more)."""
        return (round_number - 1) % self.training.evaluate_every == 0 or round_number > self.rounds

    @property
    def accounted_evaluations(self) -> int:
        """Evaluations the noise on the held-out loss is calibrated for; a repeated one sends what the first sent."""
        return sum(self.evaluates(number) for number in range(1, self.rounds + 2))

    def with_model_digest(self, model_digest: str) -> Recipe:
        """A copy whose hash covers the base model with this digest (hex SHA-256)."""
        return self.model_copy(update={"model": self.model.model_copy(update={"digest": model_digest})})
