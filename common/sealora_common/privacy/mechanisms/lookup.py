"""The one place where a mechanism's name becomes its object."""

from __future__ import annotations

from sealora_common.privacy.mechanisms.distributed import Distributed
from sealora_common.privacy.mechanisms.local import Local
from sealora_common.privacy.mechanisms.mechanism import PrivacyMechanism
from sealora_common.privacy.mechanisms.none import NoPrivacy
from sealora_common.recipe.schema import Recipe
from sealora_common.recipe.sections.privacy import MechanismName

_MECHANISMS: dict[MechanismName, PrivacyMechanism] = {
    "local": Local(),
    "distributed": Distributed(),
    "none": NoPrivacy(),
}


def mechanism_of(recipe: Recipe) -> PrivacyMechanism:
    """The recipe's mechanism."""
    return _MECHANISMS[recipe.privacy.mechanism]
