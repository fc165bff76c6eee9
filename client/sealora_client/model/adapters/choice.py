"""How a recipe's kind of adapter sits on the model: the one place that tells."""

from __future__ import annotations

from collections.abc import Callable

from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.bias import BiasAttachment
from sealora_client.model.adapters.core import CoreAttachment
from sealora_client.model.adapters.dora import DoraAttachment
from sealora_client.model.adapters.full import FullAttachment
from sealora_client.model.adapters.ia3 import Ia3Attachment
from sealora_client.model.adapters.layer_norm import LayerNormAttachment
from sealora_client.model.adapters.lora import LoraAttachment
from sealora_client.model.adapters.prompt_tuning import PromptTuningAttachment
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.adapter import AdapterKindName

_ATTACHMENTS: dict[AdapterKindName, Callable[[Recipe], Attachment]] = {
    "lora": lambda recipe: LoraAttachment(recipe.lora, recipe.model),
    "bias": lambda recipe: BiasAttachment(recipe.bias, recipe.model),
    "layer_norm": lambda recipe: LayerNormAttachment(recipe.layer_norm, recipe.model),
    "prompt_tuning": lambda recipe: PromptTuningAttachment(recipe.prompt_tuning, recipe.model),
    "dora": lambda recipe: DoraAttachment(recipe.lora, recipe.model),
    "core": lambda recipe: CoreAttachment(recipe.core, recipe.model),
    "full": lambda recipe: FullAttachment(recipe.full, recipe.model),
    "ia3": lambda recipe: Ia3Attachment(recipe.ia3, recipe.model),
}


def attachment(recipe: Recipe) -> Attachment:
    """Of the kind that `sealora_common.adapter.adapter_kind` gives for the recipe."""
    return _ATTACHMENTS[recipe.adapter](recipe)
