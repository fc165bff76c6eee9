"""Full fine-tuning of linear layers, each weight by a change of its own shape, W + D, and of normalisations.

The change is what is held, as the server has no base model; it begins with zero. Others load it as a LoRA of full rank
beside the layer, one of whose matrices is D and the other the identity: that one is only published, never held. D is
LoRA's B where a layer has no more inputs than outputs, else its A, so that the identity is the smaller one.
Normalisations are held and published whole, and begin with the base model's values.

>>> layout = AdapterLayout((TensorSpec("m.up.lora_B.weight", (8, 4)), TensorSpec("m.down.lora_A.weight", (4, 8))))
>>> {name: value.shape for name, value in Full().published(Full().initial(layout)).items() if value.any()}
{'m.up.lora_A.weight': (4, 4), 'm.down.lora_B.weight': (4, 4)}
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sealora_common.adapter.kind import PEFT_PREFIX, AdapterKind
from sealora_common.adapter.kinds.lora import LoraConfiguration
from sealora_common.adapter.layout import AdapterLayout, Tensors
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.model import ModelSection

_A = ".lora_A.weight"
_B = ".lora_B.weight"


class FullConfiguration(LoraConfiguration):
    """PEFT's `LoraConfig` with a rank for each layer, and as much alpha, so that nothing is scaled."""

    modules_to_save: tuple[str, ...] | None
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, int]


@dataclass(frozen=True)
class Full(AdapterKind):
    """A change has shape (out_features, in_features)."""

    def tensor_names(self, module: str) -> tuple[str, ...]:
        """The change of a layer with more inputs than outputs, and that of any other."""
        return module + _A, module + _B

    def norm_names(self, module: str) -> tuple[str, str]:
        """The weight of a normalisation, and its bias if it has one."""
        return f"{module}.weight", f"{module}.bias"

    def initial(self, layout: AdapterLayout) -> Tensors:
        """The base model as it is: zeros, and its values."""
        zeros = {spec.name: np.zeros(spec.shape, dtype=np.float32) for spec in layout.tensors}
        return zeros | layout.base_values()

    def shared(self, layout: AdapterLayout) -> AdapterLayout:
        """All of it."""
        return layout

    def trained(self, layout: AdapterLayout, round_number: int) -> AdapterLayout:
        """All of it, in every round."""
        return layout

    def published(self, tensors: Tensors) -> Tensors:
        """With the identities."""
        identities = {
            _module(name) + (_A if name.endswith(_B) else _B): np.eye(min(value.shape), dtype=np.float32)
            for name, value in tensors.items()
            if _is_change(name)
        }
        return tensors | identities

    def held(self, published: Tensors) -> Tensors:
        """Without the identities.

        Raises:
            ModelError: neither matrix of a layer is one, as in a LoRA of another origin.
        """
        return {name: value for name, value in published.items() if not self._is_identity(name, published)}

    def _is_identity(self, name: str, published: Tensors) -> bool:
        if not _is_change(name):
            return False
        first, second = published.get(_module(name) + _A), published.get(_module(name) + _B)
        if first is None or second is None:
            return False
        identity = _A if first.shape[1] <= second.shape[0] else _B
        found = first if identity == _A else second
        if not np.array_equal(found, np.eye(min(first.shape[1], second.shape[0]), dtype=np.float32)):
            raise ModelError(
                f"the adapter's {_module(name)} is no change of a whole weight: name the directory of a run of "
                "adapter: full"
            )
        return name.endswith(identity)

    def peft_configuration(self, model: ModelSection, layout: AdapterLayout) -> FullConfiguration:
        """PEFT's own, for the layers that the changes belong to; the layout has their shapes."""
        changes = sorted((spec for spec in layout.tensors if _is_change(spec.name)), key=lambda spec: spec.name)
        ranks = {_module(spec.name).removeprefix(PEFT_PREFIX): min(spec.shape) for spec in changes}
        whole = {name.removeprefix(PEFT_PREFIX).rpartition(".")[0] for name in layout.names if not _is_change(name)}
        return FullConfiguration(
            peft_type="LORA",
            task_type="CAUSAL_LM",
            base_model_name_or_path=model.base,
            revision=model.revision,
            r=1,
            lora_alpha=1.0,
            lora_dropout=0.0,
            target_modules=tuple(ranks),
            modules_to_save=tuple(sorted(whole)) or None,
            rank_pattern=ranks,
            alpha_pattern=ranks,
        )


def _module(name: str) -> str:
    return name.removesuffix(_A).removesuffix(_B)


def _is_change(name: str) -> bool:
    return name.endswith((_A, _B))
