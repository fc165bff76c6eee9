"""LoRA on the linear layers of a base model, by PEFT."""

from __future__ import annotations

from dataclasses import dataclass

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from sealora_client.model.adapters.adapt import ADAPTER, adapt, layout_on, require_where_asked, weight_on_inputs
from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.rules.linear_weight import LinearWeight
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.adapters.targets import linear_layers, tell_of_experts
from sealora_common.adapter.kinds.lora import Lora
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection

_SETTING = "lora.target_modules"


@dataclass(frozen=True)
class LoraAttachment(Attachment):
    """The recipe's section `lora`, on the model of its section `model`."""

    lora: LoraSection
    model: ModelSection

    @property
    def _kind(self) -> Lora:
        return Lora(self.lora)

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """On the linear layers that the section chooses, configured as the run publishes it.

        Raises:
            ModelError: the base model has no layer of a name in `lora.target_modules`, or not so many layers, or
                takes no adapter on one of them.
        """
        targets = linear_layers(base, "lora", self.lora)
        published = self._kind.peft_configuration(self.model, layout_on(self._kind, targets))
        model = adapt(base, published, _SETTING)
        require_where_asked(model, set(targets), LoraLayer, _SETTING)
        tell_of_experts(model, _SETTING)
        return model

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """A and B of each layer."""
        found: dict[str, TrainedTensor] = {}
        for name, module in model.named_modules():
            if isinstance(module, LoraLayer):
                first, second = module.lora_A[ADAPTER], module.lora_B[ADAPTER]
                halves = (weight_on_inputs(module, first, _SETTING), LinearWeight(second, _SETTING))
                found.update(zip(self._kind.tensor_names(name), halves, strict=True))
        return found
