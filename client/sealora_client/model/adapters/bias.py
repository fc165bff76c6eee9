"""Biases of linear layers of a base model, as PEFT adds to them."""

from __future__ import annotations

from dataclasses import dataclass

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from sealora_client.model.adapters.adapt import ADAPTER, adapt, layout_on, require_where_asked
from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.rules.observed import AddedVector
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.adapters.rules.untrained import Untrained
from sealora_client.model.adapters.targets import linear_layers
from sealora_common.adapter.kinds.bias import Bias
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.adapters.bias import BiasSection
from sealora_common.recipe.sections.model import ModelSection

_SETTING = "bias.target_modules"


@dataclass(frozen=True)
class BiasAttachment(Attachment):
    """The recipe's section `bias`, on the model of its section `model`."""

    bias: BiasSection
    model: ModelSection

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """On the linear layers that the section chooses and that have a bias, configured as the run publishes it.

        Raises:
            ModelError: the base model has no layer of a name, or no bias there, or not so many layers.
        """
        chosen = linear_layers(base, "bias", self.bias)
        with_bias = [name for name in chosen if base.get_submodule(name).bias is not None]
        if not with_bias or (self.bias.target_modules != "all-linear" and with_bias != chosen):
            bare = sorted({name.rpartition(".")[2] for name in chosen if name not in with_bias})
            raise ModelError(
                f"{_SETTING}: of the base model's linear layers {', '.join(bare)} have no bias to train: name layers "
                "that have one, or choose another adapter"
            )
        model = adapt(base, Bias().peft_configuration(self.model, layout_on(Bias(), with_bias)), _SETTING)
        require_where_asked(model, set(with_bias), LoraLayer, _SETTING)
        return model

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """Each layer's bias, and the two matrices of zeros with which PEFT keeps it."""
        found: dict[str, TrainedTensor] = {}
        for name, module in model.named_modules():
            if isinstance(module, LoraLayer):
                first, second = module.lora_A[ADAPTER], module.lora_B[ADAPTER]
                parts = Untrained(first), Untrained(second), AddedVector(second, "bias", _SETTING)
                found.update(zip(Bias().tensor_names(name), parts, strict=True))
        return found
