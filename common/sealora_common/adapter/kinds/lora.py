"""LoRA (Hu et al. 2021, arXiv:2106.09685): two matrices beside a linear layer, W + (alpha / rank) B A.

With `lora.scaling: sqrt_rank` it is W + (alpha / sqrt(rank)) B A (Kalajdzievski 2023, arXiv:2312.03732).

>>> layout = AdapterLayout((TensorSpec("m.lora_A.weight", (2, 8)), TensorSpec("m.lora_B.weight", (4, 2))))
>>> Lora(LoraSection()).trained(layout, round_number=1).names
('m.lora_B.weight',)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sealora_common.adapter.kind import PEFT_PREFIX, AdapterKind, PeftConfiguration
from sealora_common.adapter.kinds.drawn import uniform
from sealora_common.adapter.layout import AdapterLayout, Tensors, TensorSpec
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection

_A = ".lora_A.weight"
_B = ".lora_B.weight"


class LoraConfiguration(PeftConfiguration):
    """PEFT's `LoraConfig`, as far as a recipe says it."""

    r: int
    lora_alpha: float
    lora_dropout: float
    target_modules: tuple[str, ...]
    bias: str = "none"
    fan_in_fan_out: bool = False
    inference_mode: bool = True


class RankStabilisedLoraConfiguration(LoraConfiguration):
    """With `lora.scaling: sqrt_rank`; a kind of its own, as PEFT's file of every other adapter keeps its bytes."""

    use_rslora: bool = True


@dataclass(frozen=True)
class Lora(AdapterKind):
    """The recipe's section `lora`. A has shape (rank, in_features), B has shape (out_features, rank)."""

    section: LoraSection

    def tensor_names(self, module: str) -> tuple[str, ...]:
        """A, then B."""
        return module + _A, module + _B

    def initial(self, layout: AdapterLayout) -> Tensors:
        """A uniform in +-1/sqrt(in_features), B zero.

        The range is that of PEFT's default (Kaiming uniform with a = sqrt(5)), and every machine gets the same bits.
        """
        tensors: Tensors = {}
        for position, spec in enumerate(layout.tensors):
            if not _is_a(spec):
                tensors[spec.name] = np.zeros(spec.shape, dtype=np.float32)
                continue
            tensors[spec.name] = uniform(spec, 1.0 / math.sqrt(spec.shape[1]), self.section.seed, position)
        return tensors

    def shared(self, layout: AdapterLayout) -> AdapterLayout:
        """Both matrices, or with `ffa` B alone."""
        return self.trained(layout, 1) if self.section.aggregation == "ffa" else layout

    def trained(self, layout: AdapterLayout, round_number: int) -> AdapterLayout:
        """Which matrices, after the recipe's `lora.aggregation`.

        `ffa`: B only (FFA-LoRA, Sun et al. 2024, arXiv:2403.12313: with A frozen and shared, the mean of the
        products is the product of the means). `alternating`: B in odd rounds, A in even ones (RoLoRA,
        Chen et al. 2024, arXiv:2409.02346; B first, because A has no gradient while B is zero).
        `average`: both.
        """
        aggregation = self.section.aggregation
        if aggregation == "average":
            return layout
        want_a = aggregation == "alternating" and round_number % 2 == 0
        return AdapterLayout(tuple(tensor for tensor in layout.tensors if _is_a(tensor) == want_a))

    def peft_configuration(self, model: ModelSection, layout: AdapterLayout) -> LoraConfiguration:
        """PEFT's own, for the layers that the tensors belong to."""
        # base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight -> model.layers.0.self_attn.q_proj
        modules = {name.removeprefix(PEFT_PREFIX).removesuffix(_A).removesuffix(_B) for name in layout.names}
        stabilised = self.section.scaling == "sqrt_rank"
        configuration = RankStabilisedLoraConfiguration if stabilised else LoraConfiguration
        return configuration(
            peft_type="LORA",
            task_type="CAUSAL_LM",
            base_model_name_or_path=model.base,
            revision=model.revision,
            r=self.section.rank,
            lora_alpha=self.section.alpha,
            lora_dropout=self.section.dropout,
            target_modules=tuple(sorted(modules)),
        )


def _is_a(tensor: TensorSpec) -> bool:
    return tensor.name.endswith(_A)
