"""The weight of a linear map by example: its backward pass, its gradients, and the maps it is refused for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sealora_client.model.adapters.rules.linear_weight import LinearWeight
from sealora_client.training.gradients.supported import require_supported
from sealora_common.errors import ModelError


def test_values_and_the_gradient_of_the_inputs_are_those_of_the_plain_module() -> None:
    linear = nn.Linear(4, 3, bias=False)
    seen: list[tuple[Tensor, Tensor]] = []
    inputs = torch.randn(2, 5, 4, requires_grad=True)
    forward = LinearWeight(linear).forward(lambda *pair: seen.append(pair), linear.forward)

    output = forward(inputs)
    (found,) = torch.autograd.grad(output.square().sum(), inputs)

    plain = linear(inputs)
    (expected,) = torch.autograd.grad(plain.square().sum(), inputs)
    assert torch.equal(output, plain)
    assert torch.equal(found, expected)
    assert linear.weight.grad is None
    assert len(seen) == 1
    assert torch.equal(seen[0][0], inputs)
    assert torch.equal(seen[0][1], 2 * plain)


def test_inputs_without_a_gradient_still_reach_the_sink() -> None:
    linear = nn.Linear(4, 3, bias=False)
    seen: list[Tensor] = []
    LinearWeight(linear).forward(lambda inputs, _: seen.append(inputs), linear.forward)(
        torch.ones(2, 4)
    ).sum().backward()
    assert len(seen) == 1


def test_nothing_is_collected_where_gradients_are_off() -> None:
    linear = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        output = LinearWeight(linear).forward(lambda *_: pytest.fail("collected"), linear.forward)(torch.ones(2, 4))
    assert torch.equal(output, linear(torch.ones(2, 4)))
    assert not output.requires_grad


def test_a_second_derivative_is_refused() -> None:
    linear = nn.Linear(4, 3, bias=False)
    inputs = torch.randn(2, 4, requires_grad=True)
    output = LinearWeight(linear).forward(lambda *_: None, linear.forward)(inputs).square().sum()
    (first,) = torch.autograd.grad(output, inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize(("inner", "outer"), [(6, 2), (2, 6), (4, 4)])
@pytest.mark.parametrize("given", [True, False])
def test_each_example_s_gradient_is_that_of_the_example_alone(inner: int, outer: int, given: bool) -> None:
    weight = LinearWeight(nn.Linear(inner, outer, bias=False))
    inputs, grad_output = torch.randn(3, 5, inner), torch.randn(3, 5, outer)
    out = torch.full((3, *weight.kept_shape), torch.nan) if given else None
    found = weight.gradients(inputs, grad_output, out)
    assert found.shape == (3, *weight.kept_shape)
    assert out is None or found.data_ptr() == out.data_ptr()
    for row, x, of_y in zip(weight.ordered(found), inputs, grad_output, strict=True):
        (expected,) = torch.autograd.grad((weight.module(x) * of_y).sum(), weight.parameter)
        assert torch.allclose(row.view(outer, inner), expected, rtol=1e-5, atol=1e-6)


class _Subclass(nn.Linear):
    pass


@pytest.mark.parametrize(
    ("name", "module", "why"),
    [
        ("w", nn.Linear(2, 2), "has a bias"),
        ("w", nn.Bilinear(2, 2, 2), "not a plain nn.Linear"),
        ("w", _Subclass(2, 2, bias=False), "is a _Subclass, not a plain nn.Linear"),
        ("w", nn.Linear(2, 2, bias=False).requires_grad_(False), "is frozen"),
        ("m.experts.3.up.lora_A.weight", nn.Linear(2, 2, bias=False), "routed expert"),
    ],
)
def test_unsupported_modules_are_refused_by_name(name: str, module: nn.Linear, why: str) -> None:
    with pytest.raises(ModelError, match=why) as raised:
        require_supported([(name, LinearWeight(module))])
    assert str(raised.value).startswith(name)
    assert str(raised.value).endswith("leave it out of lora.target_modules")


def test_a_shared_weight_is_refused() -> None:
    linear, tied = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    tied.weight = linear.weight
    for other in (linear, tied):
        with pytest.raises(ModelError, match="b shares its weight"):
            require_supported([("a", LinearWeight(linear)), ("b", LinearWeight(other))])


def test_matrices_on_several_devices_are_refused() -> None:
    elsewhere = nn.Linear(2, 2, bias=False, device="meta")
    with pytest.raises(ModelError, match="b is on meta while others are on cpu"):
        require_supported([("a", LinearWeight(nn.Linear(2, 2, bias=False))), ("b", LinearWeight(elsewhere))])
