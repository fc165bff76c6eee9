"""A whole recipe: its sections, and what they must agree on with each other."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from sealora_common.config import Name
from sealora_common.recipe.hash import AddedLater, agreed_hash
from sealora_common.recipe.sections.adapter import (
    BEGINNING_WITH_THE_BASE,
    MULTIPLYING,
    SECTION_OF_KIND,
    AdapterKindName,
)
from sealora_common.recipe.sections.adapters.bias import BiasSection
from sealora_common.recipe.sections.adapters.core import CoreSection
from sealora_common.recipe.sections.adapters.full import FullSection
from sealora_common.recipe.sections.adapters.ia3 import Ia3Section
from sealora_common.recipe.sections.adapters.layer_norm import LayerNormSection
from sealora_common.recipe.sections.adapters.prompt_tuning import PromptTuningSection
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

MOST_ROUNDS: Final = 100_000


class Recipe(Section):
    """A whole recipe."""

    name: Name
    """What the run is called in logs and pages."""
    rounds: int = Field(ge=1, le=MOST_ROUNDS)
    """How many times sites train and the mean of what they send steps the adapter."""
    continue_from: Annotated[str | None, AddedLater(None)] = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the values of the adapter that the run begins with, an earlier run's say; null begins anew. The sites
    compare it with what the first round's order brings."""
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
    objective: Annotated[ObjectiveSection, AddedLater({})] = ObjectiveSection()
    training: TrainingSection = TrainingSection()
    evaluation: Annotated[EvaluationSection, AddedLater({})] = EvaluationSection()
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
        self._require_steps()
        self._require_stopping()
        self.objective.require_fitting(self.data, self.privacy)
        if self.continue_from is not None:
            self.objective.require_no_reference()
        self.evaluation.require_fitting(self.objective, self.data)
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

    def _require_steps(self) -> None:
        epochs, a_round = self.training.epochs, self.training.steps_per_round * self.training.sample_rate
        if epochs is not None and abs(self.expected_epochs - epochs) > a_round / 2:
            fitting = min(max(1.0, epochs / a_round), float(MOST_ROUNDS))  # which may be too large for a whole number
            raise ValueError(
                f"training.epochs is {epochs:g}, but {self.rounds} rounds of {self.training.steps_per_round} steps at "
                f"sample_rate {self.training.sample_rate:g} are {self.expected_epochs:g} expected epochs: set rounds "
                f"to {round(fitting)}, or leave epochs out"
            )
        if self.training.warmup_steps >= self.steps:
            raise ValueError(
                f"training.warmup_steps is {self.training.warmup_steps}, but the whole run has {self.steps} steps "
                f"({self.rounds} rounds of {self.training.steps_per_round}): the full learning rate would never be "
                "reached: take fewer"
            )

    def _require_stopping(self) -> None:
        stopping = self.server.early_stopping
        if stopping is not None and not any(self.may_end_after(number) for number in range(1, self.rounds)):
            raise ValueError(
                f"server.early_stopping has a patience of {stopping.patience}, and with training.evaluate_every "
                f"{self.training.evaluate_every} a run of {self.rounds} rounds is over before that: take less, "
                "evaluate more often, or leave it out"
            )

    @property
    def adapter_section(self) -> Section:
        """The section with the settings of the recipe's kind of adapter."""
        section: Section = getattr(self, SECTION_OF_KIND[self.adapter])
        return section

    @property
    def begins_with_the_base(self) -> bool:
        """Whether the adapter may begin with values of the base model, which sites must then read alike."""
        return self.adapter in BEGINNING_WITH_THE_BASE

    @property
    def virtual_tokens(self) -> int:
        """How many positions of the base model the adapter takes before every text."""
        return self.prompt_tuning.virtual_tokens if self.adapter == "prompt_tuning" else 0

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of what the parties agree on, see `recipe.hash`; the order of fields is no part of it."""
        return agreed_hash(self)

    @property
    def steps(self) -> int:
        """Gradient steps of the whole run, at each site."""
        return self.rounds * self.training.steps_per_round

    @property
    def expected_epochs(self) -> float:
        """How often each record is expected to be drawn in the whole run. Poisson samples have no other epochs."""
        return self.steps * self.training.sample_rate

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

    def may_end_after(self, round_number: int) -> bool:
        """Whether a run may end with this round: it is the last, or early stopping may end it there."""
        stopping = self.server.early_stopping
        if stopping is None or round_number >= self.rounds:
            return round_number == self.rounds
        return round_number > stopping.patience * self.training.evaluate_every and self.evaluates(round_number)

    @property
    def accounted_evaluations(self) -> int:
        """Evaluations the noise on the held-out loss is calibrated for; a repeated one sends what the first sent."""
        return sum(self.evaluates(number) for number in range(1, self.rounds + 2))

    def with_model_digest(self, model_digest: str) -> Recipe:
        """A copy whose hash covers the base model with this digest (hex SHA-256)."""
        return self.model_copy(update={"model": self.model.model_copy(update={"digest": model_digest})})
