"""No network: what a trained adapter is used with lies on this machine, or is said to be missing."""

from __future__ import annotations

import os

from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe


def stay_offline() -> None:
    """From now on no library of this process asks a model hub; call it before they are loaded."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def require_base(recipe: Recipe) -> None:
    """Refuses to go on without the base model on this machine.

    Raises:
        ModelError: it is not here.
    """
    from sealora_client.model.fetch import is_here

    if not is_here(recipe.model):
        raise ModelError(
            f"the base model {recipe.model.base} is not on this machine: fetch it with `sealora-site model fetch "
            f"{recipe.model.base}`, or set SEALORA_CACHE to where it is"
        )
