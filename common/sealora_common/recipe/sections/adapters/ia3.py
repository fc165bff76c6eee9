"""The section `ia3`: the adapter, where it is (IA)^3."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.section import LayerNumbers, Section, require_one_choice_of_layers


class Ia3Section(Section):
    """Vectors that scale activations: what comes out of keys and values, and what goes into feed-forward layers."""

    target_modules: Annotated[Literal["auto"] | tuple[str, ...], AddedLater("auto")] = "auto"
    """Linear layers that are scaled; `auto` is what PEFT has for the base model's architecture."""
    feedforward_modules: Annotated[Literal["auto"] | tuple[str, ...], AddedLater("auto")] = "auto"
    """Those of them whose input is scaled rather than their output."""
    last_layers: Annotated[int | None, Field(ge=1), AddedLater(None)] = None
    """Only the last so many transformer layers; null for all."""
    layers: Annotated[LayerNumbers | None, AddedLater(None)] = None
    """Only the transformer layers of these numbers, from 0; null for all, or for `last_layers`."""

    @model_validator(mode="after")
    def _names_and_layers_fit(self) -> Ia3Section:
        require_one_choice_of_layers(self.last_layers, self.layers)
        if (self.target_modules == "auto") != (self.feedforward_modules == "auto"):
            raise ValueError("target_modules and feedforward_modules are both auto, or both named: name the other too")
        return self
