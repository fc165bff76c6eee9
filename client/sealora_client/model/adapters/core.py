"""A small matrix between LoRA's two on the linear layers of a base model."""

from __future__ import annotations

from dataclasses import dataclass

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from sealora_client.model.adapters.adapt import ADAPTER, adapt, layout_on, require_where_asked
from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.rules.linear_weight import LinearWeight
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.adapters.rules.untrained import Untrained
from sealora_client.model.adapters.targets import linear_layers, tell_of_experts
from sealora_common.adapter.kinds.core import Core
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.adapters.core import CoreSection
from sealora_common.recipe.sections.model import ModelSection

_SETTING = "core.target_modules"


class CoreAndOuter(nn.Module):
    """What stands in the place of LoRA's B: R, then B."""

    def __init__(self, outer: nn.Linear) -> None:
        super().__init__()
        rank, device = outer.in_features, outer.weight.device
        self.core = nn.Linear(rank, rank, bias=False, device=device)
        self.outer = outer

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (..., rank) to (..., out_features)."""
        outputs: Tensor = self.outer(self.core(inputs))
        return outputs


@dataclass(frozen=True)
class CoreAttachment(Attachment):
    """The recipe's section `core`, on the model of its section `model`."""

    core: CoreSection
    model: ModelSection

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """On the linear layers that the section chooses, configured as the run publishes it.

        Raises:
            ModelError: the base model has no layer of a name, or not so many layers, or takes no adapter on one of
                them, or has a layer smaller than the rank.
        """
        kind, targets = Core(self.core), linear_layers(base, "core", self.core)
        model = adapt(base, kind.peft_configuration(self.model, layout_on(kind, targets)), _SETTING)
        require_where_asked(model, set(targets), LoraLayer, _SETTING)
        tell_of_experts(model, _SETTING)
        for name, layer in _layers(model):
            smaller = min(layer.in_features, layer.out_features)
            if smaller < self.core.rank:
                raise ModelError(
                    f"core.rank is {self.core.rank}, but {name} of the base model has {smaller} features: lower it, or "
                    "name other modules"
                )
            layer.lora_B[ADAPTER] = CoreAndOuter(layer.lora_B[ADAPTER])
        return model

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """A, B and R of each layer."""
        found: dict[str, TrainedTensor] = {}
        for name, layer in _layers(model):
            second: CoreAndOuter = layer.lora_B[ADAPTER]
            parts = (
                Untrained(layer.lora_A[ADAPTER]),
                Untrained(second.outer),
                LinearWeight(second.core, _SETTING),
            )
            found.update(zip(Core(self.core).tensor_names(name), parts, strict=True))
        return found


def _layers(model: PeftModel) -> list[tuple[str, LoraLayer]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
