"""The section `core`: the adapter, where it is a small matrix between two fixed ones."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.adapters.layers import LinearLayersSection
from sealora_common.recipe.sections.section import Positive


class CoreSection(LinearLayersSection):
    """A square matrix for each linear layer, between two that are drawn from a public seed and stay."""

    rank: Annotated[int, Field(ge=1, le=512), AddedLater(32)] = 32
    """Of a layer rank^2 numbers are trained, however large the layer is."""
    alpha: Annotated[Positive, AddedLater(32.0)] = 32.0
    """The adapter's output is scaled by alpha / rank."""
    seed: Annotated[int, Field(ge=0, lt=2**63), AddedLater(0)] = 0
    """Public seed of the outer matrices."""
