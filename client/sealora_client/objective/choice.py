"""Which objective a recipe trains for: the one place that tells."""

from __future__ import annotations

from collections.abc import Callable

from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.objective.classification import Classification
from sealora_client.objective.dpo import DirectPreference
from sealora_client.objective.kto import WantedResponses
from sealora_client.objective.objective import Objective
from sealora_client.objective.orpo import OddsRatioPreference
from sealora_client.objective.reference import Reference
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.objective import ObjectiveName


def objective_of(recipe: Recipe) -> Objective:
    """The objective of the recipe."""
    section = recipe.objective
    objectives: dict[ObjectiveName, Callable[[], Objective]] = {
        "causal": lambda: CausalLanguageModelling(section.loss_on),
        "classification": lambda: classification_of(recipe),
        "dpo": lambda: DirectPreference(Reference(recipe), section.beta, section.loss, section.label_smoothing),
        "orpo": lambda: OddsRatioPreference(section.beta),
        "kto_zero": lambda: WantedResponses(
            Reference(recipe), section.beta, section.wanted_weight, section.unwanted_weight
        ),
    }
    return objectives[section.kind]()


def classification_of(recipe: Recipe) -> Classification:
    """The classification that the recipe's objective is."""
    return Classification(recipe.data, recipe.objective.label_weights)
