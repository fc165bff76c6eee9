"""The recipe: everything the parties of a federation agree on before anyone trains."""

from sealora_common.recipe.load import Overrides, load_recipe, parse_recipe, recipe_of
from sealora_common.recipe.schema import Recipe
from sealora_common.recipe.sections.data import DataSection
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection
from sealora_common.recipe.sections.objective import ObjectiveSection
from sealora_common.recipe.sections.privacy import PrivacySection
from sealora_common.recipe.sections.sealing import SealingSection
from sealora_common.recipe.sections.server import ServerSection
from sealora_common.recipe.sections.sites import SitesSection
from sealora_common.recipe.sections.training import TrainingSection

__all__ = [
    "DataSection",
    "LoraSection",
    "ModelSection",
    "ObjectiveSection",
    "Overrides",
    "PrivacySection",
    "Recipe",
    "SealingSection",
    "ServerSection",
    "SitesSection",
    "TrainingSection",
    "load_recipe",
    "parse_recipe",
    "recipe_of",
]
