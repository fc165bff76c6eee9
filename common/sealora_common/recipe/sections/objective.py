"""The section `objective`: what is learned of a record."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.data import LAYOUT_FIELDS, DataSection, LayoutName
from sealora_common.recipe.sections.privacy import PrivacySection
from sealora_common.recipe.sections.section import Positive, Section

ObjectiveName = Literal["causal", "classification", "dpo", "orpo", "kto_zero"]
LossOn = Literal["responses", "all"]
PairLoss = Literal["sigmoid", "ipo"]

_READ: Final[dict[ObjectiveName, tuple[str, ...]]] = {
    "causal": ("loss_on",),
    "classification": ("label_weights",),
    "dpo": ("beta", "loss", "label_smoothing"),
    "orpo": ("beta",),
    "kto_zero": ("beta", "wanted_weight", "unwanted_weight"),
}
_LAYOUTS: Final[dict[ObjectiveName, tuple[LayoutName, ...]]] = {
    "causal": tuple(layout for layout in LAYOUT_FIELDS if layout != "feedback"),
    "classification": ("labelled",),
    "dpo": ("preference",),
    "orpo": ("preference",),
    "kto_zero": ("feedback",),
}
_LARGEST_START: Final = 32.0
"""Of a loss: half of what a figure may be whose mean travels with its noise (`round.contribution`)."""
_LEAST_BETA: Final = 0.09
_WITH_REFERENCE: Final[tuple[ObjectiveName, ...]] = ("dpo", "kto_zero")

_OVER_A_BATCH: Final = {
    "kto": "its reference point is an estimate over a batch: choose kto_zero, which fixes it at 0",
    "contrastive": "its negatives are the other records of a batch: there is none without them",
}
"""Objectives that people know, of which no record's gradient is its own."""


def _not_over_a_batch(kind: object) -> object:
    if isinstance(kind, str) and kind in _OVER_A_BATCH:
        raise ValueError(
            f"{kind} has every record in the gradients of the others, which clipping does not bound, as "
            f"{_OVER_A_BATCH[kind]} (docs/objectives.md)"
        )
    return kind


class ObjectiveSection(Section):
    """What is learned of each record, and how much each counts; see docs/objectives.md."""

    kind: Annotated[ObjectiveName, BeforeValidator(_not_over_a_batch), AddedLater("causal")] = "causal"
    """`causal`: to say the response (of a preference the chosen one), or the text that stands by itself.
    `classification`: which of the words of `data.labels` answers a text, and no other word counts. `dpo`: to prefer the
    chosen response more than the model did before (Rafailov et al. 2023, arXiv:2305.18290). `orpo`: to say the chosen
    response and to prefer it, without a reference (Hong et al. 2024, arXiv:2403.07691). `kto_zero`: to say wanted
    responses more than the model did before and unwanted ones less (Ethayarajh et al. 2024, arXiv:2402.01306), with the
    reference point fixed at 0, as in the loss that is called apo_zero_unpaired elsewhere."""
    loss_on: Annotated[LossOn, AddedLater("responses")] = "responses"
    """With `causal`: `responses` alone, or `all` tokens but the first, the template's and the prompt's too, whatever a
    record says of its turns."""
    beta: Annotated[Positive, AddedLater(0.1)] = 0.1
    """With `dpo` and `kto_zero`: how closely the model is kept to what it was; larger is closer. With `orpo`: the
    weight of the odds ratio beside the likelihood, the paper's lambda."""
    loss: Annotated[PairLoss, AddedLater("sigmoid")] = "sigmoid"
    """With `dpo`: the paper's `sigmoid`, or `ipo` (Azar et al. 2023, arXiv:2310.12036) on mean log-likelihoods a token,
    whose beta is that paper's tau."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5), AddedLater(0.0)] = 0.0
    """With `dpo` and its `sigmoid`: the share of records whose preference is taken to be the wrong way round (cDPO)."""

    wanted_weight: Annotated[Positive, AddedLater(1.0)] = 1.0
    """With `kto_zero`: how much a wanted response counts in training."""
    unwanted_weight: Annotated[Positive, AddedLater(1.0)] = 1.0
    """With `kto_zero`: how much an unwanted one does. What is measured counts all alike."""
    label_weights: Annotated[dict[str, Positive], AddedLater({})] = Field(default_factory=dict)
    """With `classification`: how much a record of each label counts in training, 1 if it is not named. What is measured
    counts all alike."""

    task_weights: Annotated[dict[str, Positive], AddedLater({})] = Field(default_factory=dict)
    """With `data.task_field`: how much a record of each task counts in training; every task is named here. Its loss is
    multiplied before it is clipped. Tasks are weighed and not drawn at rates of their own, since how often a record is
    drawn is what its privacy costs. What is measured counts all alike."""

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> ObjectiveSection:
        for name, field in type(self).model_fields.items():
            readers = [kind for kind, read in _READ.items() if name in read]
            if (
                readers
                and self.kind not in readers
                and getattr(self, name) != field.get_default(call_default_factory=True)
            ):
                raise ValueError(
                    f"{name} is read with kind: {' or '.join(readers)}, and not with {self.kind}: leave it out"
                )
        if self.label_smoothing and self.loss != "sigmoid":
            raise ValueError(f"label_smoothing is read with loss: sigmoid, and not with {self.loss}: leave it out")
        return self

    def require_fitting(self, data: DataSection, privacy: PrivacySection) -> None:
        """Refuses records of which this cannot be learned, and a public range that its loss does not fit.

        Raises:
            ValueError: names the setting and the remedy.
        """
        if data.layout not in _LAYOUTS[self.kind]:
            raise ValueError(
                f"objective.kind: {self.kind} learns from the layout {' or '.join(_LAYOUTS[self.kind])}, but "
                f"data.layout is {data.layout}: choose the objective that fits the records"
            )
        if self.kind == "classification":
            self._require_classes(data)
        if bool(self.task_weights) != (data.task_field is not None):
            raise ValueError(
                "objective.task_weights weighs the tasks that data.task_field tells apart, but only one of the two is "
                "set: set both, or neither"
            )
        if self.loss_on == "all" and data.layout == "text":
            raise ValueError(
                "objective.loss_on: all is for records with a prompt, and of a text all is learned anyway: leave it out"
            )
        if self.loss_on == "all" and data.learned_turns != "all":
            raise ValueError(
                f"objective.loss_on: all learns every turn, but data.learned_turns is {data.learned_turns}: leave out "
                "one of the two"
            )
        if self.kind == "dpo" and self.loss == "ipo":
            self._require_range(privacy.heldout_clip)

    def _require_range(self, clip: float) -> None:
        half = 0.5 / self.beta  # which may be infinite, and so may its square; a power would fail
        start = half * half
        if start > _LARGEST_START:
            raise ValueError(
                f"objective.beta is {self.beta:g}, at which ipo begins at 1 / (4 beta^2) = {start:g}, but a held-out "
                f"figure of no more than {2 * _LARGEST_START:g} travels: take a beta of {_LEAST_BETA:g} or more"
            )
        if start >= clip:
            raise ValueError(
                f"objective.loss: ipo begins at 1 / (4 beta^2) = {start:g}, which privacy.heldout_clip {clip:g} cuts "
                f"off, so that no improvement would be seen: set it to {2 * start:g}"
            )

    def require_no_reference(self) -> None:
        """Refuses an objective that compares with the model before round 1, which only the server knows at first.

        Raises:
            ValueError: names the setting and the remedy.
        """
        if self.kind in _WITH_REFERENCE:
            raise ValueError(
                f"objective.kind: {self.kind} compares with the model that the run begins with, but a site that comes "
                "in after round 1 has never seen what continue_from names: merge that adapter into the base model, "
                "agree on the merged one as model.base and leave continue_from out"
            )

    def _require_classes(self, data: DataSection) -> None:
        words = {label: word.strip() if data.trim else word for label, word in data.labels.items()}
        if (classes := len(set(words.values()))) < 2:
            raise ValueError(
                f"objective.kind: classification chooses among the words of data.labels, which names {classes}: name "
                "every label of every site there, and the word for each"
            )
        for label in self.label_weights:
            if label not in data.labels:
                raise ValueError(f"objective.label_weights names {label!r}, which data.labels does not: correct it")
        first_of: dict[str, str] = {}
        for label, word in words.items():
            first = first_of.setdefault(word, label)
            if self.label_weights.get(first, 1.0) != self.label_weights.get(label, 1.0):
                raise ValueError(
                    f"objective.label_weights weighs {first} and {label} differently, which are one class, as "
                    "data.labels has one word for them: give them one weight"
                )
