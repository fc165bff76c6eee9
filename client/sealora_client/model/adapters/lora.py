"""LoRA on the linear layers of a base model, by PEFT."""

from __future__ import annotations

from dataclasses import dataclass

from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.linear_weight import LinearWeight
from sealora_client.model.adapters.targets import linear_layers
from sealora_client.model.adapters.trained_tensor import TrainedTensor
from sealora_common.adapter.kinds.lora import Lora
from sealora_common.recipe.schema import LoraSection, ModelSection

_ADAPTER = "default"


@dataclass(frozen=True)
class LoraAttachment(Attachment):
    """The recipe's section `lora`, on the model of its section `model`."""

    lora: LoraSection
    model: ModelSection

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """On the layers that `lora.target_modules` and `lora.last_layers` name, configured as the run publishes it.

        Raises:
            ModelError: the base model has no layer of a name in `lora.target_modules`, or not so many layers.
        """
        kind, targets = Lora(self.lora), linear_layers(base, "lora", self.lora.target_modules, self.lora.last_layers)
        names = [name for target in targets for name in kind.tensor_names(target)]
        published = kind.peft_configuration(self.model, names)
        config = LoraConfig(
            r=published.r,
            lora_alpha=published.lora_alpha,
            lora_dropout=published.lora_dropout,
            target_modules=list(published.target_modules),
            bias=published.bias,
            task_type=published.task_type,
        )
        return get_peft_model(base, config, adapter_name=_ADAPTER)

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """A and B of each layer."""
        kind = Lora(self.lora)
        found: dict[str, TrainedTensor] = {}
        for name, module in model.named_modules():
            if isinstance(module, LoraLayer):
                halves = (module.lora_A[_ADAPTER], module.lora_B[_ADAPTER])
                found.update(zip(kind.tensor_names(name), map(LinearWeight, halves), strict=True))
        return found
