"""BitFit (Ben Zaken, Ravfogel & Goldberg 2022, arXiv:2106.10199): the biases of linear layers, and nothing else.

What is held is how each bias changed, which begins with zero and needs no base model. PEFT adds such a change as that
of a LoRA of rank 1 with `lora_bias`, whose matrices are zero and never trained, and merges it into the bias.

>>> layout = AdapterLayout((TensorSpec("m.q.lora_A.weight", (1, 8)), TensorSpec("m.q.lora_B.bias", (4,))))
>>> Bias().shared(layout).names
('m.q.lora_B.bias',)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sealora_common.adapter.kind import PEFT_PREFIX, AdapterKind
from sealora_common.adapter.kinds.lora import LoraConfiguration
from sealora_common.adapter.layout import AdapterLayout, Tensors, TensorSpec
from sealora_common.recipe.sections.model import ModelSection

_A = ".lora_A.weight"
_B = ".lora_B.weight"
_BIAS = ".lora_B.bias"


class BiasConfiguration(LoraConfiguration):
    """PEFT's `LoraConfig` with a bias."""

    lora_bias: bool = True


@dataclass(frozen=True)
class Bias(AdapterKind):
    """A bias has shape (out_features,); A (1, in_features) and B (out_features, 1) are zero."""

    def tensor_names(self, module: str) -> tuple[str, ...]:
        """A, B, and the bias."""
        return module + _A, module + _B, module + _BIAS

    def initial(self, layout: AdapterLayout) -> Tensors:
        """Zeros: the base model as it is."""
        return {spec.name: np.zeros(spec.shape, dtype=np.float32) for spec in layout.tensors}

    def shared(self, layout: AdapterLayout) -> AdapterLayout:
        """The biases."""
        return AdapterLayout(tuple(spec for spec in layout.tensors if spec.name.endswith(_BIAS)))

    def trained(self, layout: AdapterLayout, round_number: int) -> AdapterLayout:
        """The biases, in every round."""
        return self.shared(layout)

    def peft_configuration(self, model: ModelSection, layout: AdapterLayout) -> BiasConfiguration:
        """PEFT's own, for the layers that the biases belong to."""
        return BiasConfiguration(
            peft_type="LORA",
            task_type="CAUSAL_LM",
            base_model_name_or_path=model.base,
            revision=model.revision,
            r=1,
            lora_alpha=1.0,
            lora_dropout=0.0,
            target_modules=tuple(sorted(map(_module, self.shared(layout).tensors))),
        )


def _module(spec: TensorSpec) -> str:
    return spec.name.removeprefix(PEFT_PREFIX).removesuffix(_BIAS)
