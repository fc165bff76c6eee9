"""Normalisations of a base model: which there are, in which precision they compute, and their tensors' rules."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from transformers import PreTrainedModel

from sealora_client.model.adapters.rules.norm import NormBias, NormWeight
from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.adapters.targets import is_named
from sealora_common.errors import ModelError


def normalisations(base: PreTrainedModel, setting: str, asked: Literal["all"] | tuple[str, ...]) -> list[str]:
    """Full names of the base model's LayerNorm, RMSNorm and their like that have a weight, and are asked for.

    Args:
        base: the base model.
        setting: the field of the recipe, for sentences.
        asked: all of them, or the ends of names.

    Raises:
        ModelError: there is none, or none of a name.
    """
    norms = [name for name, module in base.named_modules() if _is_norm(module)]
    if isinstance(asked, str):
        if not norms:
            raise ModelError(f"{setting}: the base model normalises without a weight: choose another adapter")
        return norms
    there = ", ".join(sorted({name.rpartition(".")[2] for name in norms})) or "none"
    for target in asked:
        if not any(is_named(name, target) for name in norms):
            raise ModelError(
                f"{setting}: the base model has no normalisation {target!r}: choose from {there}, or write all"
            )
    return [name for name in norms if any(is_named(name, target) for target in asked)]


def compute_in_its_own_precision(norm: nn.Module) -> None:
    """Makes it compute in the precision of its weight, which is trained in float32, and give what it was given."""
    inner = norm.forward

    def forward(inputs: Tensor) -> Tensor:
        output: Tensor = inner(inputs.to(norm.get_parameter("weight").dtype))
        return output.to(inputs.dtype)

    norm.__dict__["forward"] = forward


def rules_of(norm: nn.Module, names: tuple[str, str], setting: str) -> dict[str, TrainedTensor]:
    """Its weight, and its bias if it has one, by the `names` of both."""
    rules: dict[str, TrainedTensor] = {names[0]: NormWeight(norm, "weight", setting)}
    if getattr(norm, "bias", None) is not None:
        rules[names[1]] = NormBias(norm, "bias", setting)
    return rules


def _is_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return "norm" in type(module).__name__.lower() and isinstance(weight, nn.Parameter) and weight.ndim == 1
