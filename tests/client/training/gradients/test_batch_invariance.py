"""The question to the loaded model: do examples meet inside a micro-batch?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quick_cases import quick_cases
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fetch import is_here
from sealora_client.training.gradients import batch_invariance
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_client.training.gradients.made_up import MadeUpRows
from sealora_common.errors import ModelError
from sealora_common.recipe import load_recipe

from lora_kinds import lora
from single_examples import load, recipe_for
from tiny_models import KINDS, UNMASKED

Base = Callable[..., Path]
DEMO = Path(__file__).parents[4] / "configs" / "demo-icd10.yaml"
RECIPE = recipe_for(Path("unused"), data={"max_tokens": 100}, lora={"aggregation": "alternating"})


def spoil(model: AdaptedModel, change: Callable[[Tensor], Tensor]) -> None:
    """Every first projection of an MLP gives what `change` makes of it."""
    for name, module in model.model.named_modules():
        if name.endswith("up_proj"):
            module.register_forward_hook(lambda _, inputs, output: change(output))


@pytest.mark.parametrize("checkpointing", quick_cases([False, True], True))
@pytest.mark.parametrize(
    ("quantization", "dtype"),
    quick_cases(
        [("none", "float32"), ("none", "bfloat16"), ("none", "float16"), ("nf4", "bfloat16")],
        ("none", "float32"),
        ("nf4", "bfloat16"),
    ),
)
@pytest.mark.parametrize("kind", KINDS)
def test_models_whose_rows_are_apart_pass(
    tiny_base: Base, kind: str, quantization: str, dtype: str, checkpointing: bool
) -> None:
    settings = {"quantization": quantization, "compute_dtype": dtype, "gradient_checkpointing": checkpointing}
    require_batch_invariant(load(tiny_base(kind), model=settings), RECIPE)


@pytest.mark.parametrize(
    ("quantization", "dtype"), quick_cases([("none", "float32"), ("nf4", "bfloat16")], ("none", "float32"))
)
@pytest.mark.parametrize("kind", UNMASKED)
def test_models_that_do_not_mask_padding_are_refused(tiny_base: Base, kind: str, quantization: str, dtype: str) -> None:
    settings = {"quantization": quantization, "compute_dtype": dtype, "attention": "eager"}
    with pytest.raises(ModelError, match="does not leave padding out"):
        require_batch_invariant(load(tiny_base(kind), model=settings), RECIPE)


def test_a_model_that_counts_positions_from_the_padding_is_refused(tiny_base: Base) -> None:
    model = load(tiny_base("gpt2"))
    base = model.model.get_base_model()
    base.transformer.wpe.register_forward_pre_hook(
        lambda _, inputs: (torch.arange(inputs[0].shape[-1]).expand_as(inputs[0]),)
    )
    with pytest.raises(ModelError, match="does not leave padding out"):
        require_batch_invariant(model, RECIPE)


def test_statistics_over_the_batch_are_found(tiny_base: Base) -> None:
    model = load(tiny_base("llama"))
    spoil(model, lambda output: output - output.mean(dim=0, keepdim=True))
    with pytest.raises(ModelError, match="mixes the examples of a batch"):
        require_batch_invariant(model, RECIPE)


def last_bits_by_row(output: Tensor) -> Tensor:
    rows = torch.arange(len(output), dtype=output.dtype).view(-1, *[1] * (output.dim() - 1))
    return output * (1 + 2e-7 * rows)


def last_bits_by_fill(output: Tensor) -> Tensor:
    return output * (1 + 2e-7 * (output[-1].detach().abs().sum() % 7))


def last_bits_by_number_of_dummies(output: Tensor) -> Tensor:
    alike = (output == output[-1:]).flatten(1).all(dim=1).sum()  # dummies are; where there are none, the last row alone
    return output * (1 + 2e-7 * alike)


@pytest.mark.parametrize("change", [last_bits_by_row, last_bits_by_fill, last_bits_by_number_of_dummies])
def test_kernels_that_round_by_place_or_by_what_else_is_there_are_found(
    tiny_base: Base, change: Callable[[Tensor], Tensor]
) -> None:
    model = load(tiny_base("llama"))
    spoil(model, change)
    with pytest.raises(ModelError, match="round an example by its place"):
        require_batch_invariant(model, RECIPE)


def test_kernels_that_differ_from_time_to_time_are_found(tiny_base: Base) -> None:
    model = load(tiny_base("llama"))
    generator = np.random.default_rng(0)
    spoil(model, lambda output: output * (1 + 1e-6 * float(generator.random())))
    with pytest.raises(ModelError, match="give the same example another gradient each time"):
        require_batch_invariant(model, RECIPE)


def test_an_evaluation_that_differs_from_training_is_asked_as_well(tiny_base: Base) -> None:
    model = load(tiny_base("llama"))
    spoil(model, lambda output: output if torch.is_grad_enabled() else last_bits_by_row(output))
    with pytest.raises(ModelError, match="round an example by its place"):
        require_batch_invariant(model, RECIPE)


@pytest.mark.parametrize("part", ["fingerprints", "norms", "losses"])
def test_rows_are_the_same_if_their_gradients_bits_their_norms_and_their_losses_are(part: str) -> None:
    """A gradient that only points elsewhere has the same norm and comes of the same loss."""
    rows = MadeUpRows(
        fingerprints=torch.tensor([[1], [2]]), norms=torch.tensor([[1.0], [1.0]]), losses=torch.ones(2, 2)
    )
    changed = getattr(rows, part).clone()
    changed[(0, 1) if part == "losses" else (1, 0)] += 1
    other = replace(rows, **{part: changed})
    assert rows.equals(rows, [0, 1], [0, 1])
    assert rows.equals(other, [0], [0])
    assert not rows.equals(other, [0, 1], [0, 1])


def test_the_longest_micro_batch_is_tried_in_full(tiny_base: Base) -> None:
    model = load(tiny_base("llama"))
    shapes: set[tuple[bool, tuple[int, ...]]] = set()
    fullest: dict[int, int] = {}

    def seen(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        rows, length = inputs[0].shape
        shapes.add((torch.is_grad_enabled(), (rows, length)))
        if torch.is_grad_enabled():  # rows that hold more than their padding
            held = int((inputs[0] != inputs[0][:, :1]).any(dim=1).sum())
            fullest[length] = max(fullest.get(length, 0), held)

    model.model.get_input_embeddings().register_forward_hook(seen)
    require_batch_invariant(model, RECIPE)
    assert shapes == {(backwards, (4, length)) for backwards in (False, True) for length in (48, 136)}
    assert fullest == {48: 4, 136: 4}


def test_the_model_is_left_as_it_was(tiny_base: Base) -> None:
    for training in (True, False):
        model = load(tiny_base("gpt2"), model={"gradient_checkpointing": True}, lora={"dropout": 0.1})
        model.train_only(lora().trained(model.layout, 1))
        model.model.train(training)
        model.model.get_submodule("base_model.model.transformer.h.0").eval()
        before = {name: value.clone() for name, value in model.model.state_dict().items()}
        modes = [module.training for module in model.model.modules()]
        wanted = [parameter.requires_grad for parameter in model.model.parameters()]
        state = torch.get_rng_state()
        require_batch_invariant(model, RECIPE)
        after = model.model.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert [module.training for module in model.model.modules()] == modes
        assert [parameter.requires_grad for parameter in model.model.parameters()] == wanted
        assert all(parameter.grad is None for parameter in model.model.parameters())
        assert all("forward" not in tensor.module.__dict__ for _, tensor in model.tensors_of(model.layout))
        assert torch.equal(torch.get_rng_state(), state)


def test_the_adapter_is_put_back_after_a_refusal(tiny_base: Base) -> None:
    model = load(tiny_base("llama"))
    before = model.read(model.layout.names)
    spoil(model, last_bits_by_row)
    with pytest.raises(ModelError):
        require_batch_invariant(model, RECIPE)
    after = model.read(model.layout.names)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_it_is_asked_once_for_the_same_settings(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = load(tiny_base("llama")), 0
    real: Any = batch_invariance._require_apart

    def counted(*arguments: Any) -> None:
        nonlocal asked
        asked += 1
        real(*arguments)

    monkeypatch.setattr(batch_invariance, "_require_apart", counted)
    for recipe, more in (
        (RECIPE, 4),  # two halves at two lengths
        (RECIPE, 0),
        (RECIPE.model_copy(update={"rounds": 9}), 0),
        (RECIPE.model_copy(update={"training": RECIPE.training.model_copy(update={"micro_batch_size": 2})}), 4),
        (RECIPE.model_copy(update={"data": RECIPE.data.model_copy(update={"max_tokens": 200})}), 4),
    ):
        before = asked
        require_batch_invariant(model, recipe)
        assert asked - before == more
    require_batch_invariant(load(tiny_base("llama")), RECIPE)
    assert asked == 16
    monkeypatch.setattr(torch, "get_num_threads", lambda: 17)  # by which a product is cut up, and so rounded
    require_batch_invariant(model, RECIPE)
    assert asked == 20


def test_a_refusal_is_not_taken_for_a_pass(tiny_base: Base) -> None:
    model = load(tiny_base("llama"))
    spoil(model, last_bits_by_row)
    for _ in range(2):
        with pytest.raises(ModelError):
            require_batch_invariant(model, RECIPE)


def test_a_loss_that_does_not_reach_the_adapter_is_found(tiny_base: Base) -> None:
    model = load(tiny_base("llama"))
    final = next(module for name, module in model.model.named_modules() if name.endswith("model.norm"))
    assert isinstance(final, nn.Module)
    final.register_forward_hook(lambda _, inputs, output: output.detach().requires_grad_())
    with pytest.raises(ModelError, match="does not reach the adapter"):
        require_batch_invariant(model, RECIPE)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_the_demo_s_model_passes(threads: int) -> None:
    recipe = load_recipe(DEMO, [])
    if not is_here(recipe.model):
        pytest.skip("needs the demo's model: `sealora-site model fetch smollm2-135m-instruct`")
    model = AdaptedModel.load(recipe)
    torch.set_num_threads(threads)  # `_one_thread` puts it back
    require_batch_invariant(model, recipe)
