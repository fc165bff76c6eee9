"""On which layers of a base model an adapter sits: as the section of a kind that sits on linear layers names them."""

from __future__ import annotations

import logging
from typing import Protocol

import torch
from peft import PeftModel
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from sealora_common.errors import ModelError

log = logging.getLogger(__name__)


class LayerChoice(Protocol):
    """A section of the recipe that chooses linear layers."""

    @property
    def target_modules(self) -> str | tuple[str, ...]:
        """`all-linear`, or the ends of names."""

    @property
    def last_layers(self) -> int | None:
        """Only those of the last so many transformer layers; None for all."""

    @property
    def layers(self) -> tuple[int, ...] | None:
        """Only those of the transformer layers of these numbers; None for all."""


def linear_layers(base: PreTrainedModel, section: str, choice: LayerChoice) -> list[str]:
    """Full names of the linear layers that get an adapter: those of the recipe's names and transformer layers.

    Args:
        base: the base model; its output layer is never among them.
        section: of the recipe, for sentences.
        choice: that section.

    Raises:
        ModelError: the base model has no linear layer of a name, or not so many transformer layers.
    """
    target_modules = choice.target_modules
    head = base.get_output_embeddings()
    linears = [
        name
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    chosen = [name for name in linears if not _reads_weights_itself(base, name)]
    if not isinstance(target_modules, str):
        for target in target_modules:
            if not any(is_named(name, target) for name in linears):
                there = ", ".join(sorted({name.rpartition(".")[2] for name in linears}))
                raise ModelError(
                    f"{section}.target_modules: the base model has no linear layer {target!r}: choose from {there}, "
                    "or write all-linear"
                )
        chosen = [name for name in linears if any(is_named(name, target) for target in target_modules)]
    return in_layers(base, section, chosen, choice.last_layers, choice.layers)


def in_layers(
    base: PreTrainedModel, section: str, names: list[str], last_layers: int | None, layers: tuple[int, ...] | None
) -> list[str]:
    """Those of `names` that belong to the transformer layers that a section asks for.

    Raises:
        ModelError: the base model has not so many transformer layers, or none of the names is in them.
    """
    if last_layers is None and layers is None:
        return names
    count = int(getattr(base.config.get_text_config(), "num_hidden_layers", 0))
    if last_layers is not None and last_layers > count:
        raise ModelError(f"{section}.last_layers is {last_layers}, but the base model has {count} layers: lower it")
    if layers is not None and max(layers) >= count:
        raise ModelError(
            f"{section}.layers names layer {max(layers)}, but the base model's are 0 to {count - 1}: name those"
        )
    if layers is not None:
        kept = [name for name in names if _layer(name) in layers]
    else:
        kept = [name for name in names if (_layer(name) or 0) >= count - (last_layers or 0)]
    if not kept:
        field = "last_layers" if layers is None else "layers"
        raise ModelError(f"{section}.{field}: none of {section}.target_modules is in those layers: name more of either")
    return kept


_MAMBA = {"mamba", "mamba2", "falcon_mamba", "falcon_h1"}


def _reads_weights_itself(base: PreTrainedModel, name: str) -> bool:
    """Whether the base model multiplies with that layer's weight by itself, so that an adapter on it has no effect."""
    return base.config.model_type in _MAMBA and name.endswith("out_proj")


def features_of(layer: torch.nn.Module) -> tuple[int, int]:
    """Of a linear layer, quantised or not: how many go in, and how many come out."""
    if isinstance(layer, Conv1D):
        return int(layer.nx), int(layer.nf)
    if isinstance(layer, torch.nn.Linear):
        return layer.in_features, layer.out_features
    raise ValueError(f"a {type(layer).__name__} is no linear layer")


def is_named(name: str, target: str) -> bool:
    """Whether a module of this full name is meant by a recipe's `target`: its own name, or the end of it."""
    return name == target or name.endswith(f".{target}")


def _layer(name: str) -> int | None:
    """The number of the transformer layer that a module belongs to: the first number in its path."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def tell_of_experts(model: PeftModel, setting: str) -> None:
    """Experts that are fused into one tensor are no linear layers, so `all-linear` leaves them as they are."""
    fused = {
        name.rpartition(".")[2]
        for name, parameter in model.get_base_model().named_parameters()
        if parameter.ndim == 3 and "experts" in name
    }
    if fused:
        log.warning(
            "%s: the experts of the base model (%s) get no adapter, only the layers around them",
            setting,
            ", ".join(sorted(fused)),
        )
