"""The recipe: everything the parties of a federation agree on before anyone trains."""

from sealora_common.recipe.load import load_recipe, parse_recipe
from sealora_common.recipe.schema import (
    DataSection,
    LoraSection,
    ModelSection,
    PrivacySection,
    Recipe,
    SealingSection,
    ServerSection,
    SitesSection,
    TrainingSection,
)

__all__ = [
    "DataSection",
    "LoraSection",
    "ModelSection",
    "PrivacySection",
    "Recipe",
    "SealingSection",
    "ServerSection",
    "SitesSection",
    "TrainingSection",
    "load_recipe",
    "parse_recipe",
]
