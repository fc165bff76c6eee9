"""How a recipe's rounds are trained: the one place where a mechanism's name becomes its training."""

from __future__ import annotations

from sealora_client.training.distributed import DistributedTraining
from sealora_client.training.local import LocalTraining
from sealora_client.training.none import PlainTraining
from sealora_client.training.round_training import RoundTraining
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.privacy import MechanismName

_TRAININGS: dict[MechanismName, RoundTraining] = {
    "local": LocalTraining(),
    "distributed": DistributedTraining(),
    "none": PlainTraining(),
}


def training_of(recipe: Recipe) -> RoundTraining:
    """The training of the recipe's mechanism."""
    return _TRAININGS[recipe.privacy.mechanism]
