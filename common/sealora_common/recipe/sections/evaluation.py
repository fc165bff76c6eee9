"""The section `evaluation`: what is measured on held-out records."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.objective import ObjectiveName, ObjectiveSection
from sealora_common.recipe.sections.section import Section

MetricName = Literal["loss", "accuracy", "exact_match", "token_accuracy"]

_OBJECTIVE: Final[dict[MetricName, ObjectiveName]] = {
    "accuracy": "classification",
    "exact_match": "causal",
    "token_accuracy": "causal",
}
"""Which objective a metric needs."""


class EvaluationSection(Section):
    """What the federation sees of held-out records: one noisy mean over each site's, charged as it ever was."""

    metric: Annotated[MetricName, AddedLater("loss")] = "loss"
    """`loss`: the objective's, clipped to `privacy.heldout_clip`. The others are shares from 0 to 1, so that no
    clipping changes them, and their noise is that of a range of 1. `accuracy`: with `objective.kind: classification`,
    of records whose class the model finds likeliest. With `objective.kind: causal`: `exact_match`, of records whose
    response greedy decoding gives to the letter (on responses, `objective.loss_on`), and `token_accuracy`, of learned
    tokens that the model finds likeliest after those before them."""

    def require_fitting(self, objective: ObjectiveSection) -> None:
        """Refuses a metric that the objective does not have.

        Raises:
            ValueError: names the setting and the remedy.
        """
        needed = _OBJECTIVE.get(self.metric, objective.kind)
        if objective.kind != needed:
            raise ValueError(
                f"evaluation.metric: {self.metric} needs objective.kind: {needed}, not {objective.kind}: choose loss"
            )
        if self.metric == "exact_match" and objective.loss_on != "responses":
            raise ValueError(
                "evaluation.metric: exact_match is of responses, and objective.loss_on: all learns prompts too: choose "
                "token_accuracy, or learn responses alone"
            )
