"""The section `evaluation`: what is measured on held-out records."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, model_validator

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.data import DataSection
from sealora_common.recipe.sections.objective import ObjectiveName, ObjectiveSection
from sealora_common.recipe.sections.section import Section

AnswerMetricName = Literal["bleu", "chrf", "rouge_l"]
"""Metrics of what the model answers, beside what it should have."""
MetricName = Literal["loss", "accuracy", "exact_match", "token_accuracy", "bleu", "chrf", "rouge_l"]

_OF_ANSWERS: Final[tuple[AnswerMetricName, ...]] = get_args(AnswerMetricName)
_OBJECTIVE: Final[dict[MetricName, ObjectiveName]] = {
    "accuracy": "classification",
    "exact_match": "causal",
    "token_accuracy": "causal",
    "bleu": "causal",
    "chrf": "causal",
    "rouge_l": "causal",
}
"""Which objective a metric needs."""
_OF_RESPONSES: Final[tuple[MetricName, ...]] = ("exact_match", *_OF_ANSWERS)


class EvaluationSection(Section):
    """What the federation sees of held-out records: one noisy mean over each site's, charged as it ever was."""

    metric: Annotated[MetricName, AddedLater("loss")] = "loss"
    """`loss`: the objective's, clipped to `privacy.heldout_clip`. The others are shares from 0 to 1, so that no
    clipping changes them, and their noise is that of a range of 1. `accuracy`: with `objective.kind: classification`,
    of records whose class the model finds likeliest. With `objective.kind: causal`: `exact_match`, of records whose
    response greedy decoding gives to the letter (on responses, `objective.loss_on`), and `token_accuracy`, of learned
    tokens that the model finds likeliest after those before them. Of answers that greedy decoding writes, how like the
    response they are, the mean over records: `bleu` (of sentences), `chrf` and `rouge_l`; each site needs the extra
    `evaluation` for them, see docs/objectives.md."""
    max_new_tokens: Annotated[int, AddedLater(64)] = Field(default=64, ge=1, le=4096)
    """With `bleu`, `chrf` and `rouge_l`: the most tokens of an answer; what comes after them is not written. Time and
    memory of an evaluation grow with it."""

    @model_validator(mode="after")
    def _writes_answers(self) -> EvaluationSection:
        if self.max_new_tokens != type(self).model_fields["max_new_tokens"].default and not self.answer_metric:
            raise ValueError(
                f"max_new_tokens is read with metric: {', '.join(_OF_ANSWERS[:-1])} or {_OF_ANSWERS[-1]}, and not with "
                f"{self.metric}: leave it out"
            )
        return self

    @property
    def answer_metric(self) -> AnswerMetricName | None:
        """The metric, if it is one of what the model answers."""
        return next((name for name in _OF_ANSWERS if name == self.metric), None)

    @property
    def decoded_tokens(self) -> int:
        """The most tokens that are written of a record's answer; 0 where none is."""
        return self.max_new_tokens if self.answer_metric else 0

    def require_fitting(self, objective: ObjectiveSection, data: DataSection) -> None:
        """Refuses a metric that the objective or the records do not have.

        Raises:
            ValueError: names the setting and the remedy.
        """
        needed = _OBJECTIVE.get(self.metric, objective.kind)
        if objective.kind != needed:
            raise ValueError(
                f"evaluation.metric: {self.metric} needs objective.kind: {needed}, not {objective.kind}: choose loss"
            )
        if self.metric in _OF_RESPONSES and objective.loss_on != "responses":
            raise ValueError(
                f"evaluation.metric: {self.metric} is of responses, and objective.loss_on: all learns prompts too: "
                "choose token_accuracy, or learn responses alone"
            )
        if self.answer_metric and data.layout == "text":
            raise ValueError(
                f"evaluation.metric: {self.metric} is of answers, and records of data.layout: text ask nothing: choose "
                "loss or token_accuracy"
            )
