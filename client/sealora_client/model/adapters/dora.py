"""DoRA on the linear layers of a base model, by PEFT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from sealora_client.model.adapters.adapt import ADAPTER, adapt, layout_on, require_where_asked, weight_on_inputs
from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.rules.linear_weight import LinearWeight
from sealora_client.model.adapters.rules.magnitude import Magnitude
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.adapters.targets import linear_layers, tell_of_experts
from sealora_common.adapter.kinds.dora import Dora
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection

_SETTING = "lora.target_modules"


@dataclass(frozen=True)
class DoraAttachment(Attachment):
    """The recipe's section `lora`, on the model of its section `model`."""

    lora: LoraSection
    model: ModelSection

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """On the linear layers that the section chooses, configured as the run publishes it.

        The magnitudes are those of the base model, as it is stored here.

        Raises:
            ModelError: the base model has no layer of a name, or not so many layers, or takes no adapter on one of
                them, or has weights of length zero there.
        """
        kind, targets = Dora(self.lora), linear_layers(base, "lora", self.lora)
        model = adapt(base, kind.peft_configuration(self.model, layout_on(kind, targets)), _SETTING)
        require_where_asked(model, set(targets), LoraLayer, _SETTING)
        tell_of_experts(model, _SETTING)
        for name, layer, magnitude in _layers(model):
            norms = row_norms(_weight(layer.get_base_layer()))
            if not norms.all():
                raise ModelError(
                    f"{_SETTING}: {name} of the base model has rows of zeros, which have no direction: name "
                    "other modules"
                )
            magnitude.parameter.data = torch.from_numpy(norms).to(magnitude.parameter.device)
            magnitude.module.__dict__["forward"] = magnitude.plain
        return model

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """A, B and the magnitudes of each layer."""
        found: dict[str, TrainedTensor] = {}
        for name, layer, magnitude in _layers(model):
            first, second = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
            parts = (weight_on_inputs(layer, first, _SETTING), LinearWeight(second, _SETTING), magnitude)
            found.update(zip(Dora(self.lora).tensor_names(name), parts, strict=True))
        return found


def row_norms(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """L2 norms of the rows of a matrix, float32, the same bits on every machine.

    Squares are exact in float64, and are added column by column: sums of a library have an order of their own.
    """
    total = np.zeros(len(weight), dtype=np.float64)
    for column in np.ascontiguousarray(weight.T):
        total += column.astype(np.float64) ** 2
    return np.sqrt(total).astype(np.float32)


def _layers(model: PeftModel) -> Iterator[tuple[str, LoraLayer, Magnitude]]:
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            turned = isinstance(module.get_base_layer(), Conv1D)
            yield name, module, Magnitude(module.lora_magnitude_vector[ADAPTER], turned)


def _weight(layer: nn.Module) -> NDArray[np.float32]:
    """Float32 (out, in)."""
    weight: NDArray[np.float32] = dequantize_module_weight(layer).detach().float().cpu().numpy()
    return weight.T if isinstance(layer, Conv1D) else weight
