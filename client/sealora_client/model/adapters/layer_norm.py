"""Weights of a base model's normalisations, by PEFT's LN tuning."""

from __future__ import annotations

from dataclasses import dataclass

from peft import PeftModel
from peft.tuners.ln_tuning.layer import LNTuningLayer
from torch import nn
from transformers import PreTrainedModel

from sealora_client.model.adapters.adapt import ADAPTER, adapt, layout_on, require_where_asked
from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.norms import compute_in_its_own_precision, normalisations, rules_of
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.adapters.targets import in_layers
from sealora_common.adapter.kinds.layer_norm import LayerNorm
from sealora_common.recipe.sections.adapters.layer_norm import LayerNormSection
from sealora_common.recipe.sections.model import ModelSection

_SETTING = "layer_norm.target_modules"


@dataclass(frozen=True)
class LayerNormAttachment(Attachment):
    """The recipe's section `layer_norm`, on the model of its section `model`."""

    layer_norm: LayerNormSection
    model: ModelSection

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """On the normalisations that the section chooses, configured as the run publishes it.

        They are computed in float32 whatever the base computes in, as they are trained.

        Raises:
            ModelError: the base model has no normalisation of a name, or not so many layers.
        """
        named = normalisations(base, _SETTING, self.layer_norm.target_modules)
        names = in_layers(base, "layer_norm", named, self.layer_norm.last_layers, self.layer_norm.layers)
        model = adapt(base, LayerNorm().peft_configuration(self.model, layout_on(LayerNorm(), names)), _SETTING)
        require_where_asked(model, set(names), LNTuningLayer, _SETTING)
        for _, norm in _norms(model):
            compute_in_its_own_precision(norm)
        return model

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """The weight of each, and its bias if it has one."""
        found: dict[str, TrainedTensor] = {}
        for name, norm in _norms(model):
            found |= rules_of(norm, LayerNorm().tensor_names(name), _SETTING)
        return found


def _norms(model: PeftModel) -> list[tuple[str, nn.Module]]:
    return [
        (name, module.ln_tuning_layers[ADAPTER])
        for name, module in model.named_modules()
        if isinstance(module, LNTuningLayer)
    ]
