"""LoRA on the linear layers of a base model, by PEFT."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.rules.linear_weight import LinearWeight
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.adapters.targets import linear_layers
from sealora_common.adapter.kinds.lora import Lora
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection

log = logging.getLogger(__name__)

_ADAPTER = "default"


@dataclass(frozen=True)
class LoraAttachment(Attachment):
    """The recipe's section `lora`, on the model of its section `model`."""

    lora: LoraSection
    model: ModelSection

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """On the layers that `lora.target_modules` and `lora.last_layers` name, configured as the run publishes it.

        Raises:
            ModelError: the base model has no layer of a name in `lora.target_modules`, or not so many layers, or
                takes no adapter on one of them.
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
        try:
            model = get_peft_model(base, config, adapter_name=_ADAPTER)
        except ValueError as error:  # PEFT knows layers that it cannot adapt
            raise ModelError(
                f"lora.target_modules: the base model takes no adapter there ({' '.join(str(error).split())}): name "
                "other modules"
            ) from error
        _require_where_asked(model, set(targets))
        _tell_of_experts(model)
        return model

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """A and B of each layer."""
        kind = Lora(self.lora)
        found: dict[str, TrainedTensor] = {}
        for name, module in model.named_modules():
            if isinstance(module, LoraLayer):
                halves = (module.lora_A[_ADAPTER], module.lora_B[_ADAPTER])
                found.update(zip(kind.tensor_names(name), map(LinearWeight, halves), strict=True))
        return found


def _require_where_asked(model: PeftModel, targets: set[str]) -> None:
    """PEFT translates names for models whose weights transformers fuses, and then adapts other layers."""
    prefix = "base_model.model."
    found = {name.removeprefix(prefix) for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    astray = sorted(targets ^ found)
    if astray:
        short = sorted({".".join(name.split(".")[-2:]) for name in astray})
        raise ModelError(
            "lora.target_modules: of the base model's layers PEFT adapts others than were asked for "
            f"({', '.join(short)}): name modules that are no experts, those of the attention for example"
        )


def _tell_of_experts(model: PeftModel) -> None:
    """Experts that are fused into one tensor are no linear layers, so `all-linear` leaves them as they are."""
    fused = {
        name.rpartition(".")[2]
        for name, parameter in model.get_base_model().named_parameters()
        if parameter.ndim == 3 and "experts" in name
    }
    if fused:
        log.warning(
            "lora.target_modules: the experts of the base model (%s) get no adapter, only the layers around them",
            ", ".join(sorted(fused)),
        )
