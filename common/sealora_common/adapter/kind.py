"""What a kind of adapter must say, so that nobody else need know how its tensors are named or made."""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel, ConfigDict

from sealora_common.adapter.layout import AdapterLayout, Tensors
from sealora_common.recipe.sections.model import ModelSection

PEFT_PREFIX = "base_model.model."
"""What PEFT puts before the base model's own names of modules."""


class PeftConfiguration(BaseModel):
    """`adapter_config.json` as PEFT reads it: what all kinds have; fields are written in the order they stand in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    peft_type: str
    task_type: str
    base_model_name_or_path: str
    revision: str | None


class AdapterKind(Protocol):
    """One kind of adapter with a recipe's settings: which tensors it has, how they begin, and which of them travel.

    All of it follows from the recipe and a layout, so every site and the server come to the same bits.
    """

    def tensor_names(self, module: str) -> tuple[str, ...]:
        """Names of its tensors on the layer that PEFT calls `module`, as a saved PEFT adapter has them."""

    def initial(self, layout: AdapterLayout) -> Tensors:
        """What every site starts from: float32 tensors by name, in the shapes of `layout`."""

    def shared(self, layout: AdapterLayout) -> AdapterLayout:
        """The part that travels between server and sites: all that any round trains. The rest stays `initial`."""

    def trained(self, layout: AdapterLayout, round_number: int) -> AdapterLayout:
        """The part that sites train and seal in this round (first round is 1)."""

    def published(self, tensors: Tensors) -> Tensors:
        """All tensors in the form in which PEFT loads them; what is shared stays among them as it is."""
        return tensors

    def held(self, published: Tensors) -> Tensors:
        """The inverse of `published`: all tensors as a run holds them.

        Raises:
            ModelError: they are not of this kind.
        """
        return published

    def peft_configuration(self, model: ModelSection, layout: AdapterLayout) -> PeftConfiguration:
        """What PEFT must know of an adapter with all tensors of `layout` on the base model of `model`."""
