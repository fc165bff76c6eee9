"""The rule of normalisations' weights, and the modules for which it does not hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sealora_client.model.adapters.rules.norm import NormWeight


class _Plus(nn.Module):
    """As Gemma normalises."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        return x / x.square().mean(-1, keepdim=True).sqrt() * (1 + self.weight)


class _Gated(_Plus):
    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        return super().forward(x if gate is None else x * gate)


class _Squared(_Plus):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.square()


@pytest.mark.parametrize("norm", [nn.LayerNorm(4), nn.RMSNorm(4), _Plus(), nn.LayerNorm(4, bias=False)])
@pytest.mark.parametrize("zero", [False, True])
def test_each_example_s_gradient_is_that_of_the_example_alone(norm: nn.Module, zero: bool) -> None:
    """Also where a weight is zero, so that nothing of what was normalised comes out."""
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.zeros(4) if zero else torch.randn(4))
    rule = NormWeight(norm, "weight", "x")
    assert rule.refusal() is None
    inputs, grad_output = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    for row, x, of_y in zip(rule.gradients(inputs, grad_output), inputs, grad_output, strict=True):
        (expected,) = torch.autograd.grad((norm(x) * of_y).sum(), rule.parameter)
        assert torch.allclose(row[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("norm", "why"), [(_Gated(), "takes more than what it normalises"), (_Squared(), "is not linear in its weight")]
)
def test_modules_that_do_more_are_refused(norm: nn.Module, why: str) -> None:
    refusal = NormWeight(norm, "weight", "x").refusal()
    assert refusal is not None
    assert why in refusal
