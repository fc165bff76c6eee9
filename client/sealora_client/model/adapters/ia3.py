"""(IA)^3 on linear layers of a base model, by PEFT."""

from __future__ import annotations

from dataclasses import dataclass

from peft import PeftModel
from peft.tuners.ia3 import IA3Layer
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
)
from transformers import PreTrainedModel

from sealora_client.model.adapters.adapt import adapt, require_where_asked
from sealora_client.model.adapters.attachment import Attachment
from sealora_client.model.adapters.rules.scale import Scale
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.adapters.targets import is_named, linear_layers
from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.adapter.kinds.ia3 import Ia3
from sealora_common.errors import ModelError
from sealora_common.recipe.sections.adapters.ia3 import Ia3Section
from sealora_common.recipe.sections.model import ModelSection

_SETTING = "ia3.target_modules"


@dataclass(frozen=True)
class Ia3Attachment(Attachment):
    """The recipe's section `ia3`, on the model of its section `model`."""

    ia3: Ia3Section
    model: ModelSection

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """On the linear layers that the section chooses, configured as the run publishes it.

        Raises:
            ModelError: the base model has no layer of a name, or not so many layers, or PEFT has no names for it, or
                takes no adapter on one of them.
        """
        targets, fed_forward = self._names(base)
        section = self.ia3.model_copy(update={"target_modules": targets})
        modules = linear_layers(base, "ia3", section)
        shapes = {name: (1, 0) if _any_named(name, fed_forward) else (0, 1) for name in modules}
        lost = [target for target in fed_forward if not any(is_named(name, target) for name in modules)]
        if lost:
            raise ModelError(
                f"ia3.feedforward_modules: {', '.join(lost)} is none of ia3.target_modules in those layers: name it "
                "there too"
            )
        names = AdapterLayout(
            tuple(TensorSpec(tensor, shape) for name, shape in shapes.items() for tensor in Ia3().tensor_names(name))
        )
        model = adapt(base, Ia3().peft_configuration(self.model, names), _SETTING)
        require_where_asked(model, set(modules), IA3Layer, _SETTING)
        for _, scale in _scales(model):
            scale.module.__dict__["forward"] = scale.plain
        return model

    def tensors(self, model: PeftModel) -> dict[str, TrainedTensor]:
        """The vector of each layer."""
        return {tensor: scale for name, scale in _scales(model) for tensor in Ia3().tensor_names(name)}

    def _names(self, base: PreTrainedModel) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of what is scaled, and of what is scaled before it."""
        if self.ia3.target_modules != "auto" and self.ia3.feedforward_modules != "auto":
            return self.ia3.target_modules, self.ia3.feedforward_modules
        kind = base.config.model_type
        try:
            return (
                tuple(TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING[kind]),
                tuple(TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING[kind]),
            )
        except KeyError:
            raise ModelError(
                f"ia3.target_modules: PEFT has no names for a base model of the kind {kind}: name the layers there "
                "and in ia3.feedforward_modules"
            ) from None


def _scales(model: PeftModel) -> list[tuple[str, Scale]]:
    return [(name, Scale(module)) for name, module in model.named_modules() if isinstance(module, IA3Layer)]


def _any_named(name: str, targets: tuple[str, ...]) -> bool:
    return any(is_named(name, target) for target in targets)
