"""The section `lora`: the adapter, where it is LoRA."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sealora_common.recipe.sections.section import Positive, Section

Aggregation = Literal["ffa", "alternating", "average"]


class LoraSection(Section):
    """The adapter that is trained."""

    rank: int = Field(default=8, ge=1, le=512)
    alpha: Positive = 16.0
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    last_layers: int | None = Field(default=None, ge=1)
    """Only the last so many transformer layers get an adapter; null for all. Fewer parameters carry less noise, and
    nothing is computed backwards below them."""
    aggregation: Aggregation = "ffa"
    """`ffa`: A frozen and shared, B trained. `alternating`: B and A in turn. `average`: both (inexact)."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Public seed of the shared A matrices."""
