"""The section `layer_norm`: the adapter, where it is the weights of normalisations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.section import LayerNumbers, Section, require_one_choice_of_layers


class LayerNormSection(Section):
    """Weights, and biases where there are some, of LayerNorm, RMSNorm and their like."""

    target_modules: Annotated[Literal["all"] | tuple[str, ...], AddedLater("all")] = "all"
    """Ends of names; `all` is every normalisation of the base model."""
    last_layers: Annotated[int | None, Field(ge=1), AddedLater(None)] = None
    """Only those of the last so many transformer layers; null for all, the one after the last layer too."""
    layers: Annotated[LayerNumbers | None, AddedLater(None)] = None
    """Only those of the transformer layers of these numbers, from 0; null for all, or for `last_layers`."""

    @model_validator(mode="after")
    def _chooses_layers_once(self) -> LayerNormSection:
        require_one_choice_of_layers(self.last_layers, self.layers)
        return self
