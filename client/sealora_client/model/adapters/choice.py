"""How a recipe's kind of adapter sits on the model: the one place that tells."""

from __future__ import annotations

from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.lora import LoraAttachment
from sealora_common.recipe import Recipe


def attachment(recipe: Recipe) -> Attachment:
    """Of the kind that `sealora_common.adapter.adapter_kind` gives for the recipe."""
    return LoraAttachment(recipe.lora, recipe.model)
