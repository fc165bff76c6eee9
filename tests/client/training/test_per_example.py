"""Per-example gradients against a loop over single examples, and the clip bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import collate, response_losses
from sealora_client.training.per_example import PerExampleGradients
from sealora_common.adapter import AdapterLayout
from sealora_common.errors import ModelError
from sealora_common.recipe.schema import Recipe

Base = Callable[..., Path]
LENGTHS = ((5, 9), (12, 3), (3, 17), (8, 1), (2, 6))  # (prompt, response) tokens


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_examples(lengths: tuple[tuple[int, int], ...] = LENGTHS, seed: int = 0) -> list[Example]:
    generator = np.random.default_rng(seed)
    return [
        Example(generator.integers(3, 384, prompt + response).astype(np.int32), prompt) for prompt, response in lengths
    ]


def adapted(base: Path, *, quantization: str = "none", dropout: float = 0.0) -> AdaptedModel:
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "rounds": 1,
            "model": {"base": str(base), "quantization": quantization, "compute_dtype": "float32"},
            "lora": {"rank": 4, "dropout": dropout},
        }
    )
    model = AdaptedModel.load(recipe)
    generator = np.random.default_rng(1)  # B away from zero, or A would have no gradient
    model.write({spec.name: generator.normal(0, 0.1, spec.shape) for spec in model.layout.tensors if not spec.is_a})
    return model


def trained_part(model: AdaptedModel, part: str) -> AdapterLayout:
    if part == "AB":
        return model.layout
    return AdapterLayout(tuple(spec for spec in model.layout.tensors if spec.is_a == (part == "A")))


def collect(model: AdaptedModel, layout: AdapterLayout, examples: list[Example]) -> PerExampleGradients:
    """Gradients of all examples by one backward."""
    model.train_only(layout)
    linears = dict(model.lora_linears())
    gradients = PerExampleGradients([(name, linears[name]) for name in layout.names], len(examples))
    with gradients:
        batch = collate(examples, model.pad_id, model.device)
        gradients.begin(*batch.tokens.shape)
        nll, count = response_losses(model.model, batch)
        (nll / count).sum().backward()
    return gradients


def loop(model: AdaptedModel, layout: AdapterLayout, examples: list[Example]) -> Tensor:
    """The same by ordinary autograd, one example at a time and unpadded: shape (examples, P)."""
    model.train_only(layout)
    rows = []
    for example in examples:
        nll, count = response_losses(model.model, collate([example], model.pad_id, model.device))
        found = torch.autograd.grad((nll / count).sum(), model.parameters_of(layout))
        rows.append(torch.cat([gradient.reshape(-1) for gradient in found]).double())
    return torch.stack(rows)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("part", ["A", "B", "AB"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "gemma"])
def test_rows_equal_the_gradients_of_single_examples(tiny_base: Base, kind: str, part: str) -> None:
    model = adapted(tiny_base(kind))
    layout = trained_part(model, part)
    examples = random_examples()

    gradients = collect(model, layout, examples)

    expected = loop(model, layout, examples)
    for row, reference in zip(gradients.flat, expected, strict=True):
        assert relative_error(row, reference) < 1e-5
    assert all(parameter.grad is None for parameter in model.parameters_of(layout))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "gemma"])
def test_norms_and_clipped_sum_equal_a_float64_reference(tiny_base: Base, kind: str) -> None:
    model = adapted(tiny_base(kind))
    gradients = collect(model, model.layout, random_examples())
    # The reference runs the whole model, not only the sum, in float64.
    model.model.double()
    expected = loop(model, model.layout, random_examples())
    norms = expected.norm(dim=1)
    clip_norm = float(norms.median())  # clips some, not all
    reference = (expected * (clip_norm / norms).clamp(max=1)[:, None]).sum(0)

    total = torch.zeros(model.layout.size, dtype=torch.float64)
    outcome = gradients.clipped_sum_(total, clip_norm)

    assert torch.allclose(outcome.norms, norms, rtol=1e-5)
    assert relative_error(total, reference) < 1e-5
    assert 0 < outcome.clipped < len(norms)


@pytest.mark.parametrize("part", ["A", "B", "AB"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma"])
def test_a_four_bit_base_gives_the_gradients_of_single_examples(tiny_base: Base, kind: str, part: str) -> None:
    model = adapted(tiny_base(kind), quantization="nf4")
    layout = trained_part(model, part)

    gradients = collect(model, layout, random_examples())

    expected = loop(model, layout, random_examples())
    for row, reference in zip(gradients.flat, expected, strict=True):
        assert relative_error(row, reference) < 1e-5


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "gemma"])
def test_gradient_checkpointing_changes_nothing(tiny_base: Base, kind: str, reentrant: bool, quantization: str) -> None:
    if kind == "gpt2" and quantization == "nf4":
        pytest.skip("bitsandbytes does not quantise Conv1D")
    model = adapted(tiny_base(kind), quantization=quantization)
    plain = collect(model, model.layout, random_examples()).flat.clone()

    model.model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        model.model.enable_input_require_grads()
    model.model.train()
    checkpointed = collect(model, model.layout, random_examples()).flat

    assert relative_error(checkpointed, plain.double()) < 1e-6


def test_dropout_acts_and_each_row_stays_with_its_example(tiny_base: Base) -> None:
    model = adapted(tiny_base("llama"), dropout=0.3)
    model.model.train()
    example = random_examples()[0]
    torch.manual_seed(3)
    batched = collect(model, model.layout, [example])
    torch.manual_seed(3)
    single = loop(model, model.layout, [example])
    torch.manual_seed(4)
    other_mask = loop(model, model.layout, [example])

    assert relative_error(batched.flat[0], single[0]) < 1e-5
    assert relative_error(batched.flat[0], other_mask[0]) > 1e-2


def test_sixteen_bit_activations_are_collected_in_float32(tiny_base: Base) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "rounds": 1,
            "model": {"base": str(tiny_base("llama")), "quantization": "nf4", "compute_dtype": "bfloat16"},
        }
    )
    model = AdaptedModel.load(recipe)
    layout = trained_part(model, "B")

    gradients = collect(model, layout, random_examples())

    expected = loop(model, layout, random_examples())
    assert gradients.flat.dtype == torch.float32
    # bfloat16 kernels round differently for a batch than for one example; 8 bits of mantissa are 0.4 %.
    assert relative_error(gradients.flat, expected) < 0.05


def test_autocast_to_bfloat16_backpropagates() -> None:
    first, second = nn.Linear(6, 4, bias=False), nn.Linear(4, 3, bias=False)
    inputs = torch.randn(2, 5, 6)
    with PerExampleGradients([("a", first), ("b", second)], 2) as gradients:
        gradients.begin(2, 5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = second(first(inputs)).float().square().sum()
        loss.backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = second(first(inputs)).float().square().sum()
    expected.backward()
    assert first.weight.grad is not None
    total = gradients.flat.sum(0)[: first.weight.numel()].view_as(first.weight)
    assert torch.allclose(total, first.weight.grad, rtol=0.05, atol=0.05)


def test_a_module_used_twice_in_one_forward_adds_both_uses_up() -> None:
    linear = nn.Linear(4, 4, bias=False)
    inputs = torch.randn(3, 2, 4)
    with PerExampleGradients([("w", linear)], 3) as gradients:
        gradients.begin(3, 2)
        linear(linear(inputs)).square().sum().backward()
    for row, example in zip(gradients.flat, inputs, strict=True):
        (expected,) = torch.autograd.grad(
            functional.linear(functional.linear(example, linear.weight), linear.weight).square().sum(), linear.weight
        )
        assert torch.allclose(row.view_as(expected), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [3, 6])
def test_two_dimensional_inputs_are_told_apart_by_example(rows: int) -> None:
    linear = nn.Linear(4, 2, bias=False)
    inputs = torch.randn(rows, 4)
    with PerExampleGradients([("w", linear)], 3) as gradients:
        gradients.begin(3, 2)
        linear(inputs).square().sum().backward()
    for row, example in zip(gradients.flat, inputs.view(3, -1, 4), strict=True):
        (expected,) = torch.autograd.grad(linear(example).square().sum(), linear.weight)
        assert torch.allclose(row.view_as(expected), expected, rtol=1e-5, atol=1e-6)


def test_rows_that_mix_examples_are_refused() -> None:
    linear = nn.Linear(4, 2, bias=False)
    with PerExampleGradients([("w", linear)], 3) as gradients:
        gradients.begin(3, 2)
        with pytest.raises(ModelError, match="cannot be told apart by example"):
            linear(torch.randn(5, 4)).sum().backward()


def linear_gradients(rows: Tensor) -> PerExampleGradients:
    """Gradients whose row i is `rows[i]`: y_i = <w, x_i>."""
    linear = nn.Linear(rows.shape[1], 1, bias=False)
    with PerExampleGradients([("w", linear)], len(rows)) as gradients:
        gradients.begin(len(rows), 1)
        linear(rows).sum().backward()
    return gradients


def accumulated(gradients: PerExampleGradients, clip_norm: float) -> tuple[Tensor, int, int]:
    total = torch.zeros(gradients.size, dtype=torch.float64)
    outcome = gradients.clipped_sum_(total, clip_norm)
    return total, outcome.clipped, outcome.non_finite


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e18, 1e37])
@pytest.mark.parametrize("size", [1, 7, 100_003])
def test_one_clipped_contribution_never_exceeds_the_clip_norm(scale: float, size: int) -> None:
    row = torch.randn(1, size, generator=torch.Generator().manual_seed(size)).clamp(-3, 3) * scale
    for clip_norm in (1e-3, 0.7, 1.0, 12.3):
        total, _, _ = accumulated(linear_gradients(row), clip_norm)
        assert float(total.norm()) <= clip_norm * (1 + 1e-9)


def test_all_clipped_gives_each_example_the_clip_norm() -> None:
    rows = torch.randn(4, 50) + 1
    total, clipped, _ = accumulated(linear_gradients(rows), 0.5)
    expected = (rows.double() / rows.double().norm(dim=1, keepdim=True) * 0.5).sum(0)
    assert clipped == 4
    assert relative_error(total, expected) < 1e-12


def test_none_clipped_gives_the_plain_sum() -> None:
    rows = torch.randn(4, 50)
    total, clipped, _ = accumulated(linear_gradients(rows), 1e6)
    assert clipped == 0
    assert torch.equal(total, rows.double().sum(0))


def test_a_zero_gradient_adds_zero() -> None:
    rows = torch.zeros(2, 5)
    total, clipped, non_finite = accumulated(linear_gradients(rows), 1.0)
    assert not total.any()
    assert (clipped, non_finite) == (0, 0)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_an_example_without_a_finite_gradient_adds_nothing(poison: float) -> None:
    rows = torch.randn(3, 5)
    rows[1, 2] = poison
    total, _, non_finite = accumulated(linear_gradients(rows), 1e6)
    assert non_finite == 1
    assert torch.equal(total, rows[0].double() + rows[2].double())


def test_an_infinite_clip_norm_does_not_clip() -> None:
    rows = torch.randn(3, 5) * 1e9
    total, clipped, _ = accumulated(linear_gradients(rows), float("inf"))
    assert clipped == 0
    assert torch.equal(total, rows.double().sum(0))


def test_rows_of_an_earlier_larger_micro_batch_are_not_summed_again() -> None:
    linear = nn.Linear(4, 1, bias=False)
    with PerExampleGradients([("w", linear)], 3) as gradients:
        for rows in (torch.randn(3, 4), torch.randn(2, 4)):
            gradients.begin(len(rows), 1)
            linear(rows).sum().backward()
            total = torch.zeros(4, dtype=torch.float64)
            gradients.clipped_sum_(total, float("inf"))
            assert torch.allclose(total, rows.double().sum(0))


def test_forwards_are_restored_also_after_an_error() -> None:
    linear = nn.Linear(4, 1, bias=False)
    inputs = torch.randn(2, 4)

    def fail_within() -> None:
        with PerExampleGradients([("w", linear)], 2):
            assert "forward" in linear.__dict__
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_within()
    assert "forward" not in linear.__dict__
    linear(inputs).sum().backward()
    assert linear.weight.grad is not None


def test_a_loss_that_does_not_reach_the_adapter_is_refused() -> None:
    with PerExampleGradients([("w", nn.Linear(4, 1, bias=False))], 2) as gradients:
        gradients.begin(2, 1)
        torch.ones(2, requires_grad=True).sum().backward()
        with pytest.raises(ModelError, match="does not reach the adapter"):
            gradients.clipped_sum_(torch.zeros(4, dtype=torch.float64), 1.0)


@pytest.mark.parametrize(
    ("name", "module", "why"),
    [
        ("w", nn.Linear(2, 2), "has a bias"),
        ("w", nn.Bilinear(2, 2, 2), "not a plain nn.Linear"),
        ("w", nn.Linear(2, 2, bias=False).requires_grad_(False), "is frozen"),
        ("m.experts.3.up.lora_A.weight", nn.Linear(2, 2, bias=False), "routed expert"),
    ],
)
def test_unsupported_modules_are_refused_by_name(name: str, module: nn.Linear, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        PerExampleGradients([(name, module)], 1)


def test_a_shared_weight_is_refused() -> None:
    linear = nn.Linear(2, 2, bias=False)
    with pytest.raises(ModelError, match="shares its weight"):
        PerExampleGradients([("a", linear), ("b", linear)], 1)
