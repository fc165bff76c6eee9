"""The section `lora`: the adapter, where it is LoRA or DoRA."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.section import (
    LayerNumbers,
    Positive,
    Section,
    require_one_choice_of_layers,
)

Aggregation = Literal["ffa", "alternating", "average"]


class LoraSection(Section):
    """The adapter that is trained."""

    rank: int = Field(default=8, ge=1, le=512)
    """Rows of A and columns of B: the adapter's parameters grow with it."""
    alpha: Positive = 16.0
    """The adapter's output is scaled by alpha / rank, or as `scaling` says."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that are left out in training, drawn anew for each step."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which linear layers get an adapter: all but the output layer, or those whose names end in one of these."""
    last_layers: int | None = Field(default=None, ge=1)
    """Only the last so many transformer layers get an adapter; null for all. Fewer parameters carry less noise, and
    nothing is computed backwards below them."""
    aggregation: Aggregation = "ffa"
    """`ffa`: A frozen and shared, B trained. `alternating`: B and A in turn. `average`: both (inexact)."""
    scaling: Annotated[Literal["rank", "sqrt_rank"], AddedLater("rank")] = "rank"
    """`sqrt_rank`: the output is scaled by alpha / sqrt(rank), so that a higher rank does not learn more slowly
    (rsLoRA, Kalajdzievski 2023, arXiv:2312.03732)."""
    layers: Annotated[LayerNumbers | None, AddedLater(None)] = None
    """Only the transformer layers of these numbers, from 0, get an adapter; null for all, or for `last_layers`."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Public seed of the shared A matrices."""

    @model_validator(mode="after")
    def _chooses_layers_once(self) -> LoraSection:
        require_one_choice_of_layers(self.last_layers, self.layers)
        return self
