"""(IA)^3 (Liu et al. 2022, arXiv:2205.05638): vectors that scale what goes into linear layers, or comes out of them.

A vector is a factor, so it begins with ones. What travels is how it changed, as of any adapter.

>>> layout = AdapterLayout((TensorSpec("m.k_proj.ia3_l", (4, 1)), TensorSpec("m.down_proj.ia3_l", (1, 8))))
>>> Ia3().peft_configuration(ModelSection(base="x"), layout).feedforward_modules
('m.down_proj',)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sealora_common.adapter.kind import PEFT_PREFIX, AdapterKind, PeftConfiguration
from sealora_common.adapter.layout import AdapterLayout, Tensors, TensorSpec
from sealora_common.recipe.sections.model import ModelSection

_SCALE = ".ia3_l"


class Ia3Configuration(PeftConfiguration):
    """PEFT's `IA3Config`, as far as a recipe says it."""

    target_modules: tuple[str, ...]
    feedforward_modules: tuple[str, ...]
    fan_in_fan_out: bool = False
    inference_mode: bool = True


@dataclass(frozen=True)
class Ia3(AdapterKind):
    """Of shape (features, 1) a vector scales what comes out of a layer, of shape (1, features) what goes in."""

    def tensor_names(self, module: str) -> tuple[str, ...]:
        """The one vector."""
        return (module + _SCALE,)

    def initial(self, layout: AdapterLayout) -> Tensors:
        """Ones: the base model as it is."""
        return {spec.name: np.ones(spec.shape, dtype=np.float32) for spec in layout.tensors}

    def shared(self, layout: AdapterLayout) -> AdapterLayout:
        """All of it."""
        return layout

    def trained(self, layout: AdapterLayout, round_number: int) -> AdapterLayout:
        """All of it, in every round."""
        return layout

    def peft_configuration(self, model: ModelSection, layout: AdapterLayout) -> Ia3Configuration:
        """PEFT's own, for the layers that the vectors belong to; their shapes tell which of them are fed forward."""
        return Ia3Configuration(
            peft_type="IA3",
            task_type="CAUSAL_LM",
            base_model_name_or_path=model.base,
            revision=model.revision,
            target_modules=tuple(sorted(map(_module, layout.tensors))),
            feedforward_modules=tuple(sorted(_module(spec) for spec in layout.tensors if spec.shape[0] == 1)),
        )


def _module(spec: TensorSpec) -> str:
    return spec.name.removeprefix(PEFT_PREFIX).removesuffix(_SCALE)
