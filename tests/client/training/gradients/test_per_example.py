"""Per-example gradients against a float64 loop over single examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from quick_cases import quick_cases
from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import heldout_loss
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.adapters.rules.linear_weight import LinearWeight
from sealora_client.model.loss import collate, response_losses
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.training.gradients.matrix_gradients import Owners
from sealora_client.training.gradients.per_example import LARGEST_GRID, PerExampleGradients
from sealora_common.adapter import AdapterLayout
from sealora_common.errors import ModelError
from sealora_common.privacy.mechanisms.local import LOCAL_GRID_STEPS

from lora_kinds import lora
from single_examples import clipped_sum_of, load, random_examples, reference_gradients, relative_error
from tiny_models import KINDS

Base = Callable[..., Path]
HALVES: dict[str, tuple[Any, int]] = {  # all that a round can train
    "ffa": ("ffa", 1),
    "alternating, B": ("alternating", 1),
    "alternating, A": ("alternating", 2),
    "average": ("average", 1),
}


def collect(
    model: AdaptedModel, layout: AdapterLayout, examples: Sequence[Example], at_once: int = 100
) -> PerExampleGradients:
    """A row of gradients for each example, by backward passes of `at_once` examples."""
    model.train_only(layout)
    gradients = PerExampleGradients(model.tensors_of(layout), len(examples))
    gradients.start(len(examples))
    with gradients:
        for start in range(0, len(examples), at_once):
            batch = collate(examples[start : start + at_once], model.pad_id, model.device)
            gradients.begin(range(start, start + len(batch.tokens)), batch.tokens.shape[1])
            nll, count = response_losses(model.model, batch)
            (nll / count).sum().backward()
    return gradients


@pytest.mark.parametrize("quantization", quick_cases(["none", "nf4"], "none"))
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_norms_and_clipped_sums_equal_a_float64_loop_over_single_examples(
    tiny_base: Base, kind: str, half: str, quantization: str
) -> None:
    model = load(tiny_base(kind), model={"quantization": quantization})
    aggregation, round_number = HALVES[half]
    layout = lora(aggregation).trained(model.layout, round_number)
    examples = random_examples(conversations=True)
    assert any(example.earlier for example in examples)
    expected = reference_gradients(model, layout, examples)
    expected_norms = expected.norm(dim=1)

    gradients = collect(model, layout, examples)
    rows = gradients.rows()

    for row, reference in zip(rows, expected, strict=True):
        assert relative_error(row, reference) < 1e-5
    assert all(parameter.grad is None for parameter in model.parameters_of(layout))
    median = float(expected_norms.median())
    for clip_norm, clipped in ((median, 2), (0.1, 5), (float(expected_norms.max()) * 1.1, 0)):
        gradients = collect(model, layout, examples)
        total = torch.zeros(layout.size, dtype=torch.float64)
        outcome = gradients.truncated_sum_(total, clip_norm, LOCAL_GRID_STEPS)
        assert torch.allclose(outcome.norms, expected_norms, rtol=1e-5, atol=0)
        assert relative_error(total * clip_norm / LOCAL_GRID_STEPS, clipped_sum_of(expected, clip_norm)) < 1e-5
        assert abs(outcome.clipped - clipped) <= (clip_norm == median)  # the median is on the edge


@pytest.mark.parametrize("quantization", quick_cases(["none", "nf4"], "nf4"))
@pytest.mark.parametrize("reentrant", quick_cases([True, False], False))
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_checkpointing_changes_nothing(tiny_base: Base, kind: str, reentrant: bool, quantization: str) -> None:
    model = load(tiny_base(kind), model={"quantization": quantization}, lora={"dropout": 0.2})
    model.model.train()
    torch.manual_seed(3)
    plain = collect(model, model.layout, random_examples()).rows()

    model.model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        model.model.enable_input_require_grads()
    torch.manual_seed(3)
    checkpointed = collect(model, model.layout, random_examples()).rows()

    assert relative_error(checkpointed, plain.double()) < 1e-6


def test_the_recipe_s_own_checkpointing_equals_the_reference(tiny_base: Base) -> None:
    model = load(tiny_base("llama"), model={"gradient_checkpointing": True})
    expected = reference_gradients(model, model.layout, random_examples())
    model.model.train()
    assert model.model.is_gradient_checkpointing
    assert relative_error(collect(model, model.layout, random_examples()).rows(), expected) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_under_dropout_each_row_is_its_example_s_gradient_under_the_masks_drawn(tiny_base: Base, kind: str) -> None:
    model = load(tiny_base(kind), lora={"dropout": 0.3})
    model.model.train()
    torch.manual_seed(3)
    found = collect(model, model.layout, random_examples()).rows()
    for seed, same in ((3, True), (4, False)):
        torch.manual_seed(seed)
        batch = collate(random_examples(), model.pad_id, model.device)
        nll, count = response_losses(model.model, batch)
        for row, loss in zip(found, nll / count, strict=True):
            pieces = torch.autograd.grad(loss, model.parameters_of(model.layout), retain_graph=True)
            expected = torch.cat([piece.reshape(-1) for piece in pieces]).double()
            assert (relative_error(row, expected) < 1e-5) == same


def test_rows_may_be_filled_by_several_backward_passes(tiny_base: Base) -> None:
    model = load(tiny_base("llama"))
    expected = reference_gradients(model, model.layout, random_examples())
    for at_once in (1, 2, 5):
        assert relative_error(collect(model, model.layout, random_examples(), at_once).rows(), expected) < 1e-5


@pytest.mark.parametrize("owners", [(0, 0, 1, 1, 1), (1, 0, 1, 0, 1), (0, 1, 0, 1, 0)])
def test_examples_of_one_owner_add_up_in_its_row(tiny_base: Base, owners: tuple[int, ...]) -> None:
    model = load(tiny_base("qwen2"))
    examples = random_examples()
    single = reference_gradients(model, model.layout, examples)
    model.train_only(model.layout)
    with PerExampleGradients(model.tensors_of(model.layout), 2) as gradients:
        gradients.start(2)
        for start, end in ((0, 3), (3, 5)):
            batch = collate(examples[start:end], model.pad_id, model.device)
            gradients.begin(owners[start:end], batch.tokens.shape[1])
            nll, count = response_losses(model.model, batch)
            (nll / count).sum().backward()
    for row in (0, 1):
        expected = single[[owner == row for owner in owners]].sum(dim=0)
        assert relative_error(gradients.rows()[row], expected) < 1e-5


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_an_evaluation_between_them_does_not_change_gradients_on_a_four_bit_base(tiny_base: Base, kind: str) -> None:
    """bitsandbytes packs 4-bit weights in an evaluation on some CPUs, and every later backward pass is wrong."""
    model = load(tiny_base(kind), model={"quantization": "nf4", "compute_dtype": "bfloat16"})
    before = collect(model, model.layout, random_examples()).rows()
    heldout_loss(model, CausalLanguageModelling(), Population.of(random_examples()), 4)
    assert torch.equal(collect(model, model.layout, random_examples()).rows(), before)


def test_sixteen_bit_activations_are_collected_in_float32(tiny_base: Base) -> None:
    model = load(tiny_base("llama"), model={"quantization": "nf4", "compute_dtype": "bfloat16"})
    layout = lora().trained(model.layout, 1)
    gradients = collect(model, layout, random_examples())
    expected = reference_gradients(model, layout, random_examples())
    assert gradients.rows().dtype == torch.float32
    # bfloat16 kernels round differently for a batch than for one example; 8 bits of mantissa are 0.4 %.
    assert relative_error(gradients.rows(), expected) < 0.05


def test_autocast_to_bfloat16_backpropagates() -> None:
    first, second = nn.Linear(6, 4, bias=False), nn.Linear(4, 3, bias=False)
    inputs = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))
    with PerExampleGradients([("a", LinearWeight(first)), ("b", LinearWeight(second))], 2) as gradients:
        gradients.start(2)
        gradients.begin([0, 1], 5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = second(first(inputs)).float().square().sum()
        loss.backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = second(first(inputs)).float().square().sum()
    expected.backward()
    assert first.weight.grad is not None
    total = gradients.rows().sum(0)[: first.weight.numel()].view_as(first.weight)
    assert torch.allclose(total, first.weight.grad, rtol=0.05, atol=0.05)


def test_a_module_used_twice_in_one_forward_adds_both_uses_up() -> None:
    linear = nn.Linear(4, 4, bias=False)
    inputs = torch.randn(3, 2, 4)
    with PerExampleGradients([("w", LinearWeight(linear))], 3) as gradients:
        gradients.start(3)
        gradients.begin([0, 1, 2], 2)
        linear(linear(inputs)).square().sum().backward()
    for row, example in zip(gradients.rows(), inputs, strict=True):
        twice = functional.linear(functional.linear(example, linear.weight), linear.weight)
        (expected,) = torch.autograd.grad(twice.square().sum(), linear.weight)
        assert torch.allclose(row.view_as(expected), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (6, 4), (3, 2, 4), (3, 2, 5, 4)])
def test_inputs_of_any_layout_with_the_examples_first_are_told_apart(shape: tuple[int, ...]) -> None:
    linear = nn.Linear(4, 2, bias=False)
    inputs = torch.randn(shape)
    with PerExampleGradients([("w", LinearWeight(linear))], 3) as gradients:
        gradients.start(3)
        gradients.begin([0, 1, 2], 2)
        linear(inputs).square().sum().backward()
    for row, example in zip(gradients.rows(), inputs.reshape(3, -1, 4), strict=True):
        (expected,) = torch.autograd.grad(linear(example).square().sum(), linear.weight)
        assert torch.allclose(row.view_as(expected), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 4), (9, 4), (4,), (1, 6, 4), (2, 3, 4)])
def test_inputs_that_mix_examples_are_refused(shape: tuple[int, ...]) -> None:
    linear = nn.Linear(4, 2, bias=False)
    with PerExampleGradients([("w", LinearWeight(linear))], 3) as gradients:
        gradients.start(3)
        gradients.begin([0, 1, 2], 2)
        with pytest.raises(ModelError, match="cannot be told apart by example") as refusal:
            linear(torch.randn(shape)).sum().backward()
    assert not any(character.isdigit() for character in str(refusal.value))  # a shape would tell of the records drawn


@pytest.mark.parametrize("owners", [(0, 1), (1, 0), (1, 1)])
def test_what_arrives_for_dummies_is_dropped(owners: tuple[int, ...]) -> None:
    linear = nn.Linear(4, 2, bias=False)
    inputs = torch.randn(3, 5, 4)
    inputs[2] = torch.inf
    with PerExampleGradients([("w", LinearWeight(linear))], 3) as gradients:
        gradients.start(3)
        gradients.begin(owners, 5, batch_rows=3)
        linear(inputs).sum().backward()
        expected = torch.zeros(3, 8)
        for owner, example in zip(owners, inputs, strict=False):
            expected[owner] += example.sum(dim=0).repeat(2)
        assert torch.allclose(gradients.rows(), expected, rtol=1e-5, atol=1e-6)


def test_a_row_is_the_same_however_its_examples_are_spread_over_backward_passes() -> None:
    """Also where some of them share a pass with each other, or with another owner's: to the last bit."""
    linear = nn.Linear(4, 2, bias=False)
    inputs = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0))
    rows = []
    for passes in ([(0, 1, 2)], [(0,), (1, 2)], [(3, 0), (1, 4), (5, 2)], [(0, 1), (2,)], [(3, 4, 0), (5, 1, 2)]):
        with PerExampleGradients([("w", LinearWeight(linear))], 3) as gradients:
            gradients.start(3)
            for places in passes:
                batch = torch.zeros(3, 5, 4)
                batch[: len(places)] = inputs[list(places)]
                gradients.begin([1 if place < 3 else 2 for place in places], 5, batch_rows=3)
                linear(batch).square().sum().backward()
            rows.append(gradients.rows()[1])
    assert all(torch.equal(row, rows[0]) for row in rows)


def test_fingerprints_tell_rows_apart_by_any_bit() -> None:
    linear = nn.Linear(4, 3, bias=False)
    with PerExampleGradients([("w", LinearWeight(linear))], 2) as gradients:
        found = []
        for change in (0.0, 0.0, 1e-7, -1e-7):
            gradients.start(2)
            gradients.begin([0, 1], 1)
            inputs = torch.ones(2, 4)
            inputs[1, 2] += change
            linear(inputs).sum().backward()
            found.append(gradients.fingerprints())
    assert all(fingerprint.shape == (2, 1) and fingerprint[0] == found[0][0] for fingerprint in found)
    assert len({int(fingerprint[1]) for fingerprint in found}) == 3


def test_fingerprints_tell_rows_apart_by_the_order_of_their_elements() -> None:
    linear = nn.Linear(4, 1, bias=False)
    with PerExampleGradients([("w", LinearWeight(linear))], 2) as gradients:
        gradients.start(2)
        gradients.begin([0, 1], 1)
        linear(torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]])).sum().backward()
        one, other = gradients.fingerprints()[:, 0].tolist()
    assert one != other


@pytest.mark.parametrize("owners", [(0, 1, 0, 0, 1), (2, 2, 2), (1, 0), (0,)])
def test_within_a_wave_no_two_examples_add_to_the_same_row_and_an_owner_s_come_in_order(
    owners: tuple[int, ...],
) -> None:
    """A device that adds in parallel has no order to choose then."""
    waves = [(places.tolist(), rows.tolist()) for places, rows in Owners.of(owners, torch.device("cpu")).waves]
    assert all(len(set(rows)) == len(rows) for _, rows in waves)
    added = [(row, place) for places, rows in waves for place, row in zip(places, rows, strict=True)]
    for owner in set(owners):
        own = [place for row, place in added if row == owner]
        assert own == [place for place, of in enumerate(owners) if of == owner]
    assert len(added) == len(owners)


def test_rows_of_an_earlier_larger_micro_batch_are_not_summed_again() -> None:
    linear = nn.Linear(4, 1, bias=False)
    with PerExampleGradients([("w", LinearWeight(linear))], 3) as gradients:
        for rows in (torch.randn(3, 4), torch.randn(2, 4)):
            gradients.start(len(rows))
            gradients.begin(range(len(rows)), 1)
            linear(rows).sum().backward()
            total = torch.zeros(4, dtype=torch.float64)
            gradients.sum_(total)
            assert torch.allclose(total, rows.double().sum(0))


def test_nothing_of_an_earlier_pass_is_left_where_a_later_one_brings_no_gradient() -> None:
    reached, unreached = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)
    inputs = torch.randn(2, 4)
    with PerExampleGradients([("a", LinearWeight(reached)), ("b", LinearWeight(unreached))], 2) as gradients:
        for both in (True, False):
            gradients.start(2)
            gradients.begin([0, 1], 1)
            loss = reached(inputs).sum() + unreached(inputs).sum() if both else reached(inputs).sum()
            loss.backward()
            found = gradients.rows().view(2, 2, 12)
            assert found[:, 0].any()
            assert found[:, 1].any() == both
        gradients.start(2)
        gradients.begin([0], 1)
        reached(inputs[:1]).sum().backward()
        assert not gradients.rows()[1].any()


def test_forwards_are_restored_also_after_an_error() -> None:
    linear, replaced = nn.Linear(4, 1, bias=False), nn.Linear(4, 1, bias=False)
    other = lambda inputs: inputs  # noqa: E731
    replaced.forward = other  # type: ignore[method-assign]

    def fail_within() -> None:
        with PerExampleGradients([("w", LinearWeight(linear)), ("v", LinearWeight(replaced))], 2):
            assert "forward" in linear.__dict__
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_within()
    assert "forward" not in linear.__dict__
    assert replaced.forward is other
    linear(torch.randn(2, 4)).sum().backward()
    assert linear.weight.grad is not None


def test_a_loss_that_does_not_reach_the_adapter_is_refused() -> None:
    with PerExampleGradients([("w", LinearWeight(nn.Linear(4, 1, bias=False)))], 2) as gradients:
        gradients.start(2)
        gradients.begin([0, 1], 1)
        torch.ones(2, requires_grad=True).sum().backward()
        with pytest.raises(ModelError, match="does not reach the adapter"):
            gradients.truncated_sum_(torch.zeros(4, dtype=torch.float64), 1.0, 16)


def test_arguments_that_do_not_fit_are_refused() -> None:
    linear = nn.Linear(4, 1, bias=False)
    for linears, rows in (([], 1), ([("w", LinearWeight(linear))], 0)):
        with pytest.raises(ValueError, match="number of rows"):
            PerExampleGradients(linears, rows)
    with PerExampleGradients([("w", LinearWeight(linear))], 2) as gradients:
        for count in (0, 3):
            with pytest.raises(ValueError, match="expected 1 to 2 rows"):
                gradients.start(count)
        gradients.start(1)
        owners: Sequence[int]
        for owners in ([], [0, 1], [-1]):
            with pytest.raises(ValueError, match="owners among 1 rows"):
                gradients.begin(owners, 1)
        with pytest.raises(ValueError, match="1 rows in the micro-batch or more"):
            gradients.begin([0], 1, batch_rows=0)
        gradients.begin([0], 1)
        linear(torch.randn(1, 4)).sum().backward()
        wrong: Tensor
        for wrong in (torch.zeros(3, dtype=torch.float64), torch.zeros(4)):
            with pytest.raises(ValueError, match="expected float64 of shape"):
                gradients.truncated_sum_(wrong, 1.0, 16)
        total = torch.zeros(4, dtype=torch.float64)
        for clip_norm, units in ((0.0, 16), (float("inf"), 16), (float("nan"), 16), (1.0, 0), (1.0, 2 * LARGEST_GRID)):
            with pytest.raises(ValueError, match="expected a finite norm"):
                gradients.truncated_sum_(total, clip_norm, units)
