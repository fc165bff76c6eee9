"""Which kind of adapter a recipe trains: the one place that tells."""

from __future__ import annotations

from sealora_common.adapter.kind import AdapterKind
from sealora_common.adapter.kinds.lora import Lora
from sealora_common.recipe.schema import Recipe


def adapter_kind(recipe: Recipe) -> AdapterKind:
    """The kind that the recipe's sections ask for, with their settings. Recipes know LoRA alone as yet."""
    return Lora(recipe.lora)
