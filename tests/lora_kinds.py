"""LoRA as a recipe would ask for it, where a test has no recipe."""

from __future__ import annotations

from sealora_common.adapter.kinds.lora import Lora
from sealora_common.recipe.sections.lora import Aggregation, LoraSection


def lora(aggregation: Aggregation = "ffa", seed: int = 0) -> Lora:
    return Lora(LoraSection(aggregation=aggregation, seed=seed))
