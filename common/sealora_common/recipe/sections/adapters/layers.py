"""What sections of several kinds of adapter have in common: on which linear layers it sits."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.section import LayerNumbers, Section, require_one_choice_of_layers


class LinearLayersSection(Section):
    """Linear layers by their names and by the transformer layer that they are part of."""

    target_modules: Annotated[Literal["all-linear"] | tuple[str, ...], AddedLater("all-linear")] = "all-linear"
    """Ends of names; `all-linear` is every linear layer but the output's."""
    last_layers: Annotated[int | None, Field(ge=1), AddedLater(None)] = None
    """Only the last so many transformer layers; null for all."""
    layers: Annotated[LayerNumbers | None, AddedLater(None)] = None
    """Only the transformer layers of these numbers, from 0; null for all, or for `last_layers`."""

    @model_validator(mode="after")
    def _chooses_layers_once(self) -> Self:
        require_one_choice_of_layers(self.last_layers, self.layers)
        return self
