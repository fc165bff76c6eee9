"""Every kind of adapter: its per-example gradients against a float64 loop over single examples, and rows kept apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from quick_cases import quick_cases
from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import collate, response_losses
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_client.training.gradients.per_example import PerExampleGradients
from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe

from adapter_kinds import FEW, KINDS, ON_BASES, ON_ONE_BASE, made_up_adapter
from single_examples import random_examples, recipe_for, reference_gradients, relative_error

Base = Callable[..., Path]


def adapted(base: Path, kind: str, **changes: Any) -> tuple[AdaptedModel, Recipe]:
    """A model under an adapter of made-up values, at which every tensor has a gradient."""
    recipe = recipe_for(base, **KINDS[kind], **changes)
    model = AdaptedModel.load(recipe)
    model.write(made_up_adapter(model, recipe))
    return model, recipe


def trained_in(model: AdaptedModel, recipe: Recipe, round_number: int = 1) -> AdapterLayout:
    return adapter_kind(recipe).trained(model.layout, round_number)


def collect(model: AdaptedModel, layout: AdapterLayout, examples: Sequence[Example], rows: int, length: int) -> Tensor:
    """A row of gradients for each example, computed at once among dummies, padded to this length."""
    model.train_only(layout)
    gradients = PerExampleGradients(model.tensors_of(layout), rows)
    gradients.start(rows)
    with gradients:
        batch = collate(examples, model.pad_id, model.device, rows, length)
        gradients.begin(range(len(examples)), batch.length, batch.rows)
        nll, count = response_losses(model.model, batch)
        (nll / count.clamp(min=1)).sum().backward()
        assert not gradients.rows()[len(examples) :].any()
    assert all(parameter.grad is None for parameter in model.parameters_of(layout))
    return gradients.rows()[: len(examples)]


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize(("kind", "base"), ON_BASES)
def test_gradients_equal_a_loop_over_single_examples_whatever_the_padding_and_the_dummies(
    tiny_base: Base, kind: str, base: str, quantization: str
) -> None:
    model, recipe = adapted(tiny_base(base), kind, model={"quantization": quantization})
    layout, examples = trained_in(model, recipe), random_examples()
    expected = reference_gradients(model, layout, examples)
    for rows, length in ((len(examples), 48), (len(examples) + 2, 64)):
        for found, reference in zip(collect(model, layout, examples, rows, length), expected, strict=True):
            assert relative_error(found, reference) < 1e-5


@pytest.mark.parametrize(("kind", "base"), ON_ONE_BASE)
def test_every_trained_tensor_has_a_gradient(tiny_base: Base, kind: str, base: str) -> None:
    model, recipe = adapted(tiny_base(base), kind)
    layout = trained_in(model, recipe)
    rows = collect(model, layout, random_examples(), 5, 48)
    for name, piece in layout.unflatten(rows.abs().sum(dim=0).numpy()).items():
        assert piece.any(), name


@pytest.mark.parametrize("quantization", quick_cases(["none", "nf4"], "none"))
@pytest.mark.parametrize(("kind", "base"), ON_ONE_BASE)
def test_gradient_checkpointing_changes_nothing(tiny_base: Base, kind: str, base: str, quantization: str) -> None:
    rows = []
    for checkpointing in (False, True):
        settings = {"quantization": quantization, "gradient_checkpointing": checkpointing}
        model, recipe = adapted(tiny_base(base), kind, model=settings)
        model.model.train()
        rows.append(collect(model, trained_in(model, recipe), random_examples(), 6, 48))
    assert torch.equal(*rows)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize(("kind", "base"), FEW)
def test_sixteen_bit_bases_train_and_their_rows_keep_apart(
    tiny_base: Base, kind: str, base: str, quantization: str
) -> None:
    settings = {"quantization": quantization, "compute_dtype": "bfloat16"}
    model, recipe = adapted(tiny_base(base), kind, model=settings, data={"max_tokens": 64})
    require_batch_invariant(model, recipe)
    layout, examples = trained_in(model, recipe), random_examples()
    found = collect(model, layout, examples, 5, 48)
    assert found.dtype == torch.float32
    assert relative_error(found, reference_gradients(model, layout, examples)) < 0.1


@pytest.mark.parametrize(("kind", "base"), ON_BASES)
def test_bases_whose_rows_keep_apart_pass(tiny_base: Base, kind: str, base: str) -> None:
    model, recipe = adapted(tiny_base(base), kind, data={"max_tokens": 64})
    require_batch_invariant(model, recipe)


@pytest.mark.parametrize(("kind", "base"), ON_ONE_BASE)
def test_rows_that_meet_in_the_base_are_found(tiny_base: Base, kind: str, base: str) -> None:
    """Also where the adapter is a factor: at one that lets nothing through they would not be."""
    model, recipe = adapted(tiny_base(base), kind, data={"max_tokens": 64})
    for name, module in model.model.named_modules():
        if name.endswith("layers.0.mlp"):
            module.register_forward_hook(lambda _, inputs, output: output - output.mean(dim=0, keepdim=True))
    with pytest.raises(ModelError, match="mixes the examples of a batch"):
        require_batch_invariant(model, recipe)
