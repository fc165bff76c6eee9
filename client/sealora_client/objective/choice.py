"""Which objective a recipe trains for: the one place that tells."""

from __future__ import annotations

from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.objective.objective import Objective
from sealora_common.recipe import Recipe


def objective_of(recipe: Recipe) -> Objective:  # recipes know one as yet
    """The objective of the recipe."""
    return CausalLanguageModelling()
