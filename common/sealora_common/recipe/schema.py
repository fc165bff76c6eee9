"""A whole recipe: its sections, and what they must agree on with each other."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from sealora_common.config import Name
from sealora_common.recipe.hash import AddedLater, agreed_hash
from sealora_common.recipe.sections.adapter import MULTIPLYING, SECTION_OF_KIND, AdapterKindName
from sealora_common.recipe.sections.adapters.bias import BiasSection
from sealora_common.recipe.sections.adapters.core import CoreSection
from sealora_common.recipe.sections.adapters.full import FullSection
from sealora_common.recipe.sections.adapters.ia3 import Ia3Section
from sealora_common.recipe.sections.adapters.layer_norm import LayerNormSection
from sealora_common.recipe.sections.adapters.prompt_tuning import PromptTuningSection
from sealora_common.recipe.sections.data import DataSection
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection
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
    adapter: Annotated[AdapterKindName, AddedLater("lora")] = "lora"
    """What is trained, see docs/adapters.md; a kind's settings are the section of its name."""
    lora: LoraSection = LoraSection()
    ia3: Annotated[Ia3Section, AddedLater({})] = Ia3Section()
    bias: Annotated[BiasSection, AddedLater({})] = BiasSection()
    layer_norm: Annotated[LayerNormSection, AddedLater({})] = LayerNormSection()
    prompt_tuning: Annotated[PromptTuningSection, AddedLater({})] = PromptTuningSection()
    core: Annotated[CoreSection, AddedLater({})] = CoreSection()
    full: Annotated[FullSection, AddedLater({})] = FullSection()
    data: DataSection = DataSection()
    training: TrainingSection = TrainingSection()
    privacy: PrivacySection = PrivacySection()
    sealing: SealingSection = SealingSection()
    server: ServerSection = ServerSection()
    sites: SitesSection = SitesSection()

    @model_validator(mode="after")
    def _has_no_section_of_another_kind(self) -> Recipe:
        own = SECTION_OF_KIND[self.adapter]
        for kind, name in SECTION_OF_KIND.items():
            section = getattr(self, name)
            if name != own and section != type(section)():
                raise ValueError(
                    f"{name} is set, but the recipe's adapter is {self.adapter}, which reads {own} alone: "
                    f"remove the section, or write adapter: {kind}"
                )
        return self

    @model_validator(mode="after")
    def _drops_nothing_of_a_norm(self) -> Recipe:
        if self.adapter == "dora" and self.lora.dropout:
            raise ValueError(
                "lora.dropout is no part of adapter: dora here, which scales what comes of an input with and without "
                "it: set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _decays_to_where_it_began(self) -> Recipe:
        multiplies = self.adapter in MULTIPLYING or (self.adapter == "full" and self.full.with_normalisations)
        if multiplies and self.training.weight_decay:
            remedy = ", or full.normalisations to false" if self.adapter == "full" else ""
            raise ValueError(
                f"training.weight_decay pulls to zero, where an adapter of the kind {self.adapter} lets nothing of the "
                f"base model through: set it to 0{remedy}"
            )
        return self

    @model_validator(mode="after")
    def _sections_agree(self) -> Recipe:
        if self.lora.aggregation == "alternating" and self.server.optimizer != "fedavg":
            raise ValueError(
                f"lora.aggregation: alternating works with server.optimizer: fedavg only, not "
                f"{self.server.optimizer!r} (its momentum would move the half that rests)"
            )
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
    def adapter_section(self) -> Section:
        """The section with the settings of the recipe's kind of adapter."""
        section: Section = getattr(self, SECTION_OF_KIND[self.adapter])
        return section

    @property
    def virtual_tokens(self) -> int:
        """How many positions of the base model the adapter takes before every text."""
        return self.prompt_tuning.virtual_tokens if self.adapter == "prompt_tuning" else 0

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
