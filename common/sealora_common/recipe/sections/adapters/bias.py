"""The section `bias`: the adapter, where it is the biases of linear layers."""

from __future__ import annotations

from sealora_common.recipe.sections.adapters.layers import LinearLayersSection


class BiasSection(LinearLayersSection):
    """Biases of linear layers that have one; `all-linear` is every such layer."""
