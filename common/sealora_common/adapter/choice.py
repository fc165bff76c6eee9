"""Which kind of adapter a recipe trains: the one place that tells."""

from __future__ import annotations

from collections.abc import Callable

from sealora_common.adapter.kind import AdapterKind
from sealora_common.adapter.kinds.bias import Bias
from sealora_common.adapter.kinds.core import Core
from sealora_common.adapter.kinds.dora import Dora
from sealora_common.adapter.kinds.full import Full
from sealora_common.adapter.kinds.ia3 import Ia3
from sealora_common.adapter.kinds.layer_norm import LayerNorm
from sealora_common.adapter.kinds.lora import Lora
from sealora_common.adapter.kinds.prompt_tuning import PromptTuning
from sealora_common.recipe.schema import Recipe
from sealora_common.recipe.sections.adapter import AdapterKindName

_KINDS: dict[AdapterKindName, Callable[[Recipe], AdapterKind]] = {
    "lora": lambda recipe: Lora(recipe.lora),
    "dora": lambda recipe: Dora(recipe.lora),
    "core": lambda recipe: Core(recipe.core),
    "full": lambda recipe: Full(),
    "ia3": lambda recipe: Ia3(),
    "bias": lambda recipe: Bias(),
    "layer_norm": lambda recipe: LayerNorm(),
    "prompt_tuning": lambda recipe: PromptTuning(recipe.prompt_tuning),
}


def adapter_kind(recipe: Recipe) -> AdapterKind:
    """The kind that the recipe asks for, with the settings of its section."""
    return _KINDS[recipe.adapter](recipe)
