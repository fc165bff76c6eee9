"""The section `full`: the adapter, where it is the whole weights of linear layers."""

from __future__ import annotations

from typing import Annotated

from sealora_common.recipe.hash import AddedLater
from sealora_common.recipe.sections.adapters.layers import LinearLayersSection


class FullSection(LinearLayersSection):
    """Whole weights of linear layers, for small models: a site holds a gradient of all of them for each example of a
    micro-batch, and all of them travel in every round."""

    normalisations: Annotated[bool, AddedLater(True)] = True
    """Whether the weights and biases of the normalisations in those transformer layers are trained too, where
    `target_modules` is `all-linear`; with neither `last_layers` nor `layers`, of all there are."""

    @property
    def with_normalisations(self) -> bool:
        """Whether any are trained."""
        return self.normalisations and self.target_modules == "all-linear"
