"""What is kept for the backward pass: nothing twice as wide as the base model has it.

Counted by autograd's own hooks, tensor by tensor, so that neither an allocator nor another process has a part in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import collate, response_losses
from sealora_client.training.gradients.per_example import PerExampleGradients
from sealora_common.adapter import adapter_kind

from single_examples import random_examples, recipe_for, write_random_adapter

Base = Callable[..., Path]
RANK, ROWS, LENGTH, LAYERS, HIDDEN, BETWEEN = 4, 5, 48, 2, 64, 128  # of `tiny_models`
INPUTS = LAYERS * ROWS * LENGTH * (3 * HIDDEN + BETWEEN)
"""Elements of what goes into a layer's maps: q, k and v share theirs, so do gate and up; o and down have their own."""


def kept(base: Path, aggregation: str, quantization: str, dtype: str, **settings: Any) -> Counter[torch.dtype]:
    """Bytes by type of all that one backward pass will need, each piece of memory once."""
    sections = {"model": {"quantization": quantization, "compute_dtype": dtype}}
    recipe = recipe_for(base, **sections, lora={"rank": RANK, "aggregation": aggregation, **settings})
    model = AdaptedModel.load(recipe)
    write_random_adapter(model)
    layout = adapter_kind(recipe).trained(model.layout, 1)
    model.train_only(layout)
    model.model.train()
    pieces: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter) and tensor.is_floating_point():
            pieces[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with PerExampleGradients(model.tensors_of(layout), ROWS) as gradients:
        gradients.start(ROWS)
        batch = collate(random_examples(), model.pad_id, model.device, ROWS, LENGTH)
        gradients.begin(range(ROWS), batch.length, batch.rows)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            nll, count = response_losses(model.model, batch)
        sizes: Counter[torch.dtype] = Counter()
        for tensor in pieces.values():
            sizes[tensor.dtype] += tensor.numel() * tensor.element_size()
        (nll / count.clamp(min=1)).sum().backward()
        assert gradients.rows().any()
    return sizes


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_training_a_as_well_keeps_its_inputs_in_the_base_s_sixteen_bits_and_once(tiny_base: Base, dtype: str) -> None:
    of_b = kept(tiny_base("llama"), "ffa", "nf4", dtype)
    of_both = kept(tiny_base("llama"), "average", "nf4", dtype)
    assert of_both[torch.float32] <= of_b[torch.float32]
    narrow = getattr(torch, dtype)
    assert 0 < of_both[narrow] - of_b[narrow] <= 2 * INPUTS


def test_a_float32_base_s_inputs_are_kept_once(tiny_base: Base) -> None:
    of_b, of_both = (kept(tiny_base("llama"), kind, "nf4", "float32") for kind in ("ffa", "average"))
    assert 0 < of_both[torch.float32] - of_b[torch.float32] <= 4 * INPUTS


def test_under_dropout_what_is_left_of_the_inputs_is_kept_as_it_was_multiplied(tiny_base: Base) -> None:
    """It is scaled, so it does not fit into the base's 16 bits: each layer has its own, in float32."""
    of_both = kept(tiny_base("llama"), "average", "nf4", "bfloat16", dropout=0.1)
    plain = kept(tiny_base("llama"), "average", "nf4", "bfloat16")
    assert of_both[torch.float32] - plain[torch.float32] > 4 * INPUTS
