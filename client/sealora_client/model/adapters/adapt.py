"""Puts an adapter on a base model by PEFT, configured as the run publishes it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from peft import PeftConfig, PeftModel, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from sealora_client.model.adapters.rules.linear_weight import InputWeight, LinearWeight
from sealora_common.adapter import AdapterKind, AdapterLayout, PeftConfiguration, TensorSpec
from sealora_common.errors import ModelError

ADAPTER = "default"
"""PEFT's name of the one adapter on a model."""


def adapt(base: PreTrainedModel, published: PeftConfiguration, setting: str) -> PeftModel:
    """The base model with the adapter that `published` describes on it, trainable.

    Args:
        base: it is changed in place.
        published: what others will load the adapter with.
        setting: the field of the recipe that names modules, for sentences.

    Raises:
        ModelError: the base model takes no such adapter.
    """
    told = published.model_dump(exclude={"peft_type", "base_model_name_or_path", "revision", "inference_mode"})
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
    config: PeftConfig = PEFT_TYPE_TO_CONFIG_MAPPING[published.peft_type](**told)
    try:
        with warnings.catch_warnings():
            # Said of normalisations, whose rule is tried before they are trained (`rules.norm`).
            warnings.filterwarnings("ignore", message="Unsupported layer type")
            return get_peft_model(base, config, adapter_name=ADAPTER)
    except (ValueError, TypeError) as error:  # PEFT knows layers that it cannot adapt
        raise ModelError(
            f"{setting}: the base model takes no adapter there ({' '.join(str(error).split())}): name other modules"
        ) from error


def weight_on_inputs(layer: LoraLayer, linear: nn.Linear, setting: str) -> LinearWeight:
    """The rule of a map that `layer` applies to its inputs, of LoRA's A say; without dropout they stay as they come."""
    if isinstance(layer.lora_dropout[ADAPTER], nn.Identity):
        return InputWeight(linear, setting, layer=layer)
    return LinearWeight(linear, setting)


def require_where_asked(model: PeftModel, targets: set[str], layer: type[BaseTunerLayer], setting: str) -> None:
    """Refuses an adapter on other modules: PEFT translates names for models whose weights transformers fuses.

    Raises:
        ModelError: it sits elsewhere.
    """
    prefix = "base_model.model."
    found = {name.removeprefix(prefix) for name, module in model.named_modules() if isinstance(module, layer)}
    astray = sorted(targets ^ found)
    if astray:
        short = sorted({".".join(name.split(".")[-2:]) for name in astray})
        raise ModelError(
            f"{setting}: of the base model's layers PEFT adapts others than were asked for "
            f"({', '.join(short)}): name modules that are no experts, those of the attention for example"
        )


def layout_on(kind: AdapterKind, modules: Iterable[str]) -> AdapterLayout:
    """The names of the kind's tensors on these modules; their shapes are not known yet, and stand as ()."""
    return AdapterLayout(tuple(TensorSpec(name, ()) for module in modules for name in kind.tensor_names(module)))
