"""A small matrix R between two fixed ones, W + (alpha / rank) B R A: LoRA-XS (Balazy et al. 2024, arXiv:2405.17604).

As only R is trained, the mean of the sites' R is exact, and few numbers carry noise (Fed-SB, Singhal et al. 2025,
arXiv:2502.15436). Those papers take A and B from a decomposition of W. Here they are drawn from a public seed, since
every site and the server must have the same bits: libraries decompose a matrix in an order of their own, and the server
has no W. Drawn vectors of many dimensions are nearly orthogonal, and of nearly unit length as they are scaled here.

Others load it as plain LoRA: what is published as B is B R.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sealora_common.adapter.kind import AdapterKind
from sealora_common.adapter.kinds.drawn import uniform
from sealora_common.adapter.kinds.lora import Lora, LoraConfiguration
from sealora_common.adapter.layout import AdapterLayout, Tensors
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.adapters.core import CoreSection
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection

_A = ".lora_A.weight"
_B = ".lora_B.weight"
_CORE = ".lora_core.weight"


@dataclass(frozen=True)
class Core(AdapterKind):
    """The recipe's section `core`. R has shape (rank, rank), A and B those of LoRA's matrices."""

    section: CoreSection

    def tensor_names(self, module: str) -> tuple[str, ...]:
        """A, B, and R."""
        return module + _A, module + _B, module + _CORE

    def initial(self, layout: AdapterLayout) -> Tensors:
        """R zero; A and B uniform by the public seed, with a variance of 1 / in_features and 1 / out_features."""
        tensors: Tensors = {}
        for position, spec in enumerate(sorted(layout.tensors, key=lambda spec: spec.name)):
            if spec.name.endswith(_CORE):
                tensors[spec.name] = np.zeros(spec.shape, dtype=np.float32)
            else:
                features = spec.shape[1] if spec.name.endswith(_A) else spec.shape[0]
                tensors[spec.name] = uniform(spec, math.sqrt(3.0 / features), self.section.seed, position)
        return tensors

    def shared(self, layout: AdapterLayout) -> AdapterLayout:
        """R of each layer."""
        return AdapterLayout(tuple(spec for spec in layout.tensors if spec.name.endswith(_CORE)))

    def trained(self, layout: AdapterLayout, round_number: int) -> AdapterLayout:
        """R of each layer, in every round."""
        return self.shared(layout)

    def published(self, tensors: Tensors) -> Tensors:
        """With B R as B. R stands beside it, from which a run goes on; PEFT passes over it."""
        drawn = self.initial(AdapterLayout.of(tensors))
        folded = {
            name: (drawn[name].astype(np.float64) @ tensors[name.removesuffix(_B) + _CORE]).astype(np.float32)
            for name in tensors
            if name.endswith(_B)
        }
        return tensors | folded

    def held(self, published: Tensors) -> Tensors:
        """With B as it is drawn.

        Raises:
            ModelError: a layer lacks its R, as in a LoRA of another origin.
        """
        for name in published:
            if name.endswith(_B) and name.removesuffix(_B) + _CORE not in published:
                raise ModelError(
                    f"the adapter has no {name.removesuffix(_B) + _CORE}, which a run of adapter: core keeps beside "
                    "what it publishes: name the directory of such a run"
                )
        drawn = self.initial(AdapterLayout.of(published))
        return published | {name: value for name, value in drawn.items() if name.endswith(_B)}

    def peft_configuration(self, model: ModelSection, layout: AdapterLayout) -> LoraConfiguration:
        """As LoRA's."""
        matrices = AdapterLayout(tuple(spec for spec in layout.tensors if not spec.name.endswith(_CORE)))
        section = LoraSection(rank=self.section.rank, alpha=self.section.alpha)
        return Lora(section).peft_configuration(model, matrices)
