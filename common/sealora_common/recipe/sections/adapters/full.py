"""The section `full`: the adapter, where it is the whole weights of linear layers."""

from __future__ import annotations

from sealora_common.recipe.sections.adapters.layers import LinearLayersSection


class FullSection(LinearLayersSection):
    """Whole weights of linear layers, for small models: a site holds a gradient of all of them for each example of a
    micro-batch, and all of them travel in every round."""
