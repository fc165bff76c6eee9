"""The weights of normalisations (Zhao et al. 2023, arXiv:2312.11420; PEFT's LN tuning), and their biases.

They begin with the base model's values, which sites say in their greeting, as the server has no base model.

>>> values = np.array([1.5], dtype="<f4").tobytes()
>>> layout = AdapterLayout((TensorSpec("m.norm.ln_tuning_layers.weight", (1,), values),))
>>> LayerNorm().initial(layout)["m.norm.ln_tuning_layers.weight"].tolist()
[1.5]
"""

from __future__ import annotations

from dataclasses import dataclass

from sealora_common.adapter.kind import PEFT_PREFIX, AdapterKind, PeftConfiguration
from sealora_common.adapter.layout import AdapterLayout, Tensors, TensorSpec
from sealora_common.recipe.sections.model import ModelSection

_COPY = ".ln_tuning_layers."


class LayerNormConfiguration(PeftConfiguration):
    """PEFT's `LNTuningConfig`, as far as a recipe says it."""

    target_modules: tuple[str, ...]
    inference_mode: bool = True


@dataclass(frozen=True)
class LayerNorm(AdapterKind):
    """Vectors of shape (features,)."""

    def tensor_names(self, module: str) -> tuple[str, str]:
        """The weight, and the bias if the module has one."""
        return f"{module}{_COPY}weight", f"{module}{_COPY}bias"

    def initial(self, layout: AdapterLayout) -> Tensors:
        """The base model's values."""
        return layout.base_values()

    def shared(self, layout: AdapterLayout) -> AdapterLayout:
        """All of it."""
        return layout

    def trained(self, layout: AdapterLayout, round_number: int) -> AdapterLayout:
        """All of it, in every round."""
        return layout

    def peft_configuration(self, model: ModelSection, layout: AdapterLayout) -> LayerNormConfiguration:
        """PEFT's own, for the modules that the vectors belong to."""
        return LayerNormConfiguration(
            peft_type="LN_TUNING",
            task_type="CAUSAL_LM",
            base_model_name_or_path=model.base,
            revision=model.revision,
            target_modules=tuple(sorted(set(map(_module, layout.tensors)))),
        )


def _module(spec: TensorSpec) -> str:
    return spec.name.removeprefix(PEFT_PREFIX).partition(_COPY)[0]
