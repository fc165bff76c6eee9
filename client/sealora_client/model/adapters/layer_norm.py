"""Weights of a base model's normalisations, by PEFT's LN tuning."""

from __future__ import annotations

from dataclasses import dataclass

from peft import PeftModel
from peft.tuners.ln_tuning.layer import LNTuningLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from sealora_client.model.adapters.adapt import ADAPTER, adapt, layout_on, require_where_asked
from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.rules.norm import NormBias, NormWeight
from sealora_client.model.adapters.rules.trained_tensor import Forward, TrainedTensor
from sealora_client.model.adapters.targets import in_layers, is_named
from sealora_common.adapter.kinds.layer_norm import LayerNorm
from sealora_common.errors import ModelError
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
        names = in_layers(base, "layer_norm", self._named(base), self.layer_norm.last_layers, self.layer_norm.layers)
        model = adapt(base, LayerNorm().peft_configuration(self.model, layout_on(LayerNorm(), names)), _SETTING)
        require_where_asked(model, set(names), LNTuningLayer, _SETTING)
        for _, norm in _norms(model):
            norm.__dict__["forward"] = _in_its_own_precision(norm)
        return model

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """The weight of each, and its bias if it has one."""
        found: dict[str, TrainedTensor] = {}
        for name, norm in _norms(model):
            weight, bias = LayerNorm().tensor_names(name)
            found[weight] = NormWeight(norm, "weight", _SETTING)
            if getattr(norm, "bias", None) is not None:
                found[bias] = NormBias(norm, "bias", _SETTING)
        return found

    def _named(self, base: PreTrainedModel) -> list[str]:
        norms = [name for name, module in base.named_modules() if _is_norm(module)]
        there = ", ".join(sorted({name.rpartition(".")[2] for name in norms})) or "none"
        asked = self.layer_norm.target_modules
        if isinstance(asked, str):
            if not norms:
                raise ModelError(
                    f"{_SETTING}: the base model has no normalisation with a weight: choose another adapter"
                )
            return norms
        for target in asked:
            if not any(is_named(name, target) for name in norms):
                raise ModelError(
                    f"{_SETTING}: the base model has no normalisation {target!r}: choose from {there}, or write all"
                )
        return [name for name in norms if any(is_named(name, target) for target in asked)]


def _is_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return "norm" in type(module).__name__.lower() and isinstance(weight, nn.Parameter) and weight.ndim == 1


def _norms(model: PeftModel) -> list[tuple[str, nn.Module]]:
    return [
        (name, module.ln_tuning_layers[ADAPTER])
        for name, module in model.named_modules()
        if isinstance(module, LNTuningLayer)
    ]


def _in_its_own_precision(norm: nn.Module) -> Forward:
    """Its forward pass in the precision of its weight, which is trained in float32, as its inputs are stored."""
    inner = norm.forward

    def forward(inputs: Tensor) -> Tensor:
        output: Tensor = inner(inputs.to(norm.get_parameter("weight").dtype))
        return output.to(inputs.dtype)

    return forward
