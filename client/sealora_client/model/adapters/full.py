"""Whole weights of linear layers of a base model, each by a change beside it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel

from sealora_client.model.adapters.adapt import ADAPTER, adapt, require_where_asked, weight_on_inputs
from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.norms import compute_in_its_own_precision, normalisations, rules_of
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.adapters.targets import features_of, in_layers, linear_layers, tell_of_experts
from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.adapter.kinds.full import Full
from sealora_common.recipe.sections.adapters.full import FullSection
from sealora_common.recipe.sections.model import ModelSection

log = logging.getLogger(__name__)

_SETTING = "full.target_modules"


class IdentityMap(nn.Module):
    """What stands in the place of the one of LoRA's matrices that is the identity; nothing is multiplied."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        # PEFT reads the precision of the adapter off it.
        self.register_buffer("weight", torch.zeros(0, dtype=torch.float32), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """The inputs."""
        return inputs


@dataclass(frozen=True)
class FullAttachment(Attachment):
    """The recipe's section `full`, on the model of its section `model`."""

    full: FullSection
    model: ModelSection

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """On the linear layers that the section chooses, configured as the run publishes it.

        Raises:
            ModelError: the base model has no layer of a name, or not so many layers, or takes no adapter on one of
                them.
        """
        targets = linear_layers(base, "full", self.full)
        specs = []
        for name in targets:
            inputs, outputs = features_of(base.get_submodule(name))
            of_tall, of_wide = Full().tensor_names(name)[::-1]
            specs.append(TensorSpec(of_tall if inputs <= outputs else of_wide, (outputs, inputs)))
        norms = self._norms(base)
        specs += [TensorSpec(Full().norm_names(name)[0], ()) for name in norms]
        model = adapt(base, Full().peft_configuration(self.model, AdapterLayout(tuple(specs))), _SETTING)
        require_where_asked(model, set(targets), LoraLayer, _SETTING)
        tell_of_experts(model, _SETTING)
        for _, layer in _layers(model):
            identity = layer.lora_A if layer.in_features <= layer.out_features else layer.lora_B
            identity[ADAPTER] = IdentityMap()
        for _, norm in _whole(model):
            compute_in_its_own_precision(norm)
        _tell_of_what_stays(base, {f"{name}.weight" for name in targets}, norms)
        return model

    def _norms(self, base: PreTrainedModel) -> list[str]:
        if not self.full.with_normalisations:
            return []
        every = normalisations(base, "full.normalisations", "all")
        return in_layers(base, "full", every, self.full.last_layers, self.full.layers)

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """The change of each layer's weight, and normalisations as a whole."""
        found: dict[str, TrainedTensor] = {}
        for name, layer in _layers(model):
            for tensor, half in zip(Full().tensor_names(name), (layer.lora_A, layer.lora_B), strict=True):
                if not isinstance(half[ADAPTER], IdentityMap):
                    found[tensor] = weight_on_inputs(layer, half[ADAPTER], _SETTING)
        for name, norm in _whole(model):
            found |= rules_of(norm, Full().norm_names(name), "full.normalisations")
        return found


def _layers(model: PeftModel) -> list[tuple[str, LoraLayer]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def _whole(model: PeftModel) -> list[tuple[str, nn.Module]]:
    return [
        (name, module.modules_to_save[ADAPTER])
        for name, module in model.named_modules()
        if isinstance(module, ModulesToSaveWrapper)
    ]


def _tell_of_what_stays(base: PreTrainedModel, changed: set[str], norms: list[str]) -> None:
    """Names the parameters of the base model that nothing trains; PEFT has put itself between some names."""
    whole = {f"{name}.original_module." for name in norms}
    names = {
        name.replace(".base_layer.", ".")
        for name, _ in base.named_parameters()
        if ".lora_" not in name and ".modules_to_save." not in name and not any(part in name for part in whole)
    }
    stay = sorted({".".join(name.split(".")[-2:]) for name in names - changed})
    if stay:
        log.warning(
            "adapter: full trains linear layers and normalisations; of the base model these stay as they are: %s",
            ", ".join(stay),
        )
