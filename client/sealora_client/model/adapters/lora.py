"""LoRA on the linear layers of a base model, by PEFT."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.linear_weight import LinearWeight
from sealora_client.model.adapters.trained_tensor import TrainedTensor
from sealora_common.adapter.kinds.lora import Lora
from sealora_common.errors import ModelError
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
        kind, targets = Lora(self.lora), _targets(base, self.lora)
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


def _targets(base: PreTrainedModel, lora: LoraSection) -> list[str]:
    """Full names of the linear layers that get an adapter: those of the recipe's names and last layers."""
    head = base.get_output_embeddings()
    linears = [
        name
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    chosen = linears
    if not isinstance(lora.target_modules, str):
        for target in lora.target_modules:
            if not any(_is_named(name, target) for name in linears):
                there = ", ".join(sorted({name.rpartition(".")[2] for name in linears}))
                raise ModelError(
                    f"lora.target_modules: the base model has no linear layer {target!r}: choose from {there}, "
                    "or write all-linear"
                )
        chosen = [name for name in linears if any(_is_named(name, target) for target in lora.target_modules)]
    if lora.last_layers is None:
        return chosen
    count = int(getattr(base.config.get_text_config(), "num_hidden_layers", 0))
    if lora.last_layers > count:
        raise ModelError(f"lora.last_layers is {lora.last_layers}, but the base model has {count} layers: lower it")
    last = [name for name in chosen if (_layer(name) or 0) >= count - lora.last_layers]
    if not last:
        raise ModelError("lora.last_layers: none of lora.target_modules is in those layers: name more of either")
    return last


def _is_named(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _layer(name: str) -> int | None:
    """The number of the transformer layer that a module belongs to: the first number in its path."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)
