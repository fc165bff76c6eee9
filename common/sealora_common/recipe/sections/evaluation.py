"""The section `evaluation`: what is measured on held-out records."""

from __future__ import annotations

from typing import Annotated, Literal

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.objective import ObjectiveSection
from sealora_common.recipe.sections.section import Section


class EvaluationSection(Section):
    """What the federation sees of held-out records: one noisy mean over each site's, charged as it ever was."""

    metric: Annotated[Literal["loss", "accuracy"], AddedLater("loss")] = "loss"
    """`loss`: the objective's, clipped to `privacy.heldout_clip`. `accuracy`: with `objective.kind: classification`
    the share of records whose class the model finds likeliest; it is from 0 to 1, so that no clipping changes it, and
    its noise is that of a range of 1."""

    def require_fitting(self, objective: ObjectiveSection) -> None:
        """Refuses a metric that the objective does not have.

        Raises:
            ValueError: names the setting and the remedy.
        """
        if self.metric == "accuracy" and objective.kind != "classification":
            raise ValueError(
                f"evaluation.metric: accuracy needs objective.kind: classification, not {objective.kind}: choose loss"
            )
