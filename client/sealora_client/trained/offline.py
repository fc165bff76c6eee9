"""No network: what a trained adapter is used with lies on this machine, or is said to be missing."""

from __future__ import annotations

import os

from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe

_ASKS_NOBODY = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "DO_NOT_TRACK": "1",
}


def stay_offline() -> None:
    """From now on no library of this process asks a hub of models or data; call it before they are loaded."""
    os.environ.update(_ASKS_NOBODY)


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
