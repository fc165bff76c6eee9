"""On which layers of a base model an adapter sits: as the section of a kind that sits on linear layers names them."""

from __future__ import annotations

from typing import Literal

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from sealora_common.errors import ModelError


def linear_layers(
    base: PreTrainedModel,
    section: str,
    target_modules: Literal["all-linear"] | tuple[str, ...],
    last_layers: int | None,
) -> list[str]:
    """Full names of the linear layers that get an adapter: those of the recipe's names and last layers.

    Args:
        base: the base model; its output layer is never among them.
        section: of the recipe, for sentences.
        target_modules: of that section: all linear layers, or those whose names end in one of these.
        last_layers: of that section: only those of the last so many transformer layers; None for all.

    Raises:
        ModelError: the base model has no linear layer of a name, or not so many layers.
    """
    head = base.get_output_embeddings()
    linears = [
        name
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    chosen = [name for name in linears if not _reads_weights_itself(base, name)]
    if not isinstance(target_modules, str):
        for target in target_modules:
            if not any(_is_named(name, target) for name in linears):
                there = ", ".join(sorted({name.rpartition(".")[2] for name in linears}))
                raise ModelError(
                    f"{section}.target_modules: the base model has no linear layer {target!r}: choose from {there}, "
                    "or write all-linear"
                )
        chosen = [name for name in linears if any(_is_named(name, target) for target in target_modules)]
    if last_layers is None:
        return chosen
    count = int(getattr(base.config.get_text_config(), "num_hidden_layers", 0))
    if last_layers > count:
        raise ModelError(f"{section}.last_layers is {last_layers}, but the base model has {count} layers: lower it")
    last = [name for name in chosen if (_layer(name) or 0) >= count - last_layers]
    if not last:
        raise ModelError(
            f"{section}.last_layers: none of {section}.target_modules is in those layers: name more of either"
        )
    return last


_MAMBA = {"mamba", "mamba2", "falcon_mamba", "falcon_h1"}


def _reads_weights_itself(base: PreTrainedModel, name: str) -> bool:
    """Whether the base model multiplies with that layer's weight by itself, so that an adapter on it has no effect."""
    return base.config.model_type in _MAMBA and name.endswith("out_proj")


def _is_named(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _layer(name: str) -> int | None:
    """The number of the transformer layer that a module belongs to: the first number in its path."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)
