"""Weights and biases of normalisations, y = n(x) w + b, or n(x) (1 + w) + b: whatever n is, dy/dw is n(x)."""

from __future__ import annotations

import copy
import inspect

import torch
from torch import Tensor, nn

from sealora_client.model.adapters.rules.observed import AddedVector, ObservedTensor, summed_over_positions


class NormWeight(ObservedTensor):
    """w, shape (features,): its gradient by example is the sum over positions of n(x) times dL/dy."""

    @property
    def is_of_base(self) -> bool:
        """Always."""
        return True

    def refusal(self) -> str | None:
        """It holds for modules of one argument that are linear in their weight, which is tried."""
        module = self.module
        if len(inspect.signature(type(module).forward).parameters) != 2:
            return f"is a {type(module).__name__}, which takes more than what it normalises"
        generator = torch.Generator().manual_seed(0)
        size = self.parameter.numel()
        inputs, weight, bias = (torch.randn(shape, generator=generator) for shape in ((3, size), size, size))
        found = _computed(module, inputs, weight, bias)
        expected = self._normalised(inputs) * weight + _computed(module, inputs, weight * 0, bias)
        if not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
            return f"is a {type(module).__name__}, which is not linear in its weight"
        return None

    def gradients(self, inputs: Tensor, grad_output: Tensor, out: Tensor | None = None) -> Tensor:
        """Element by element, then summed."""
        return summed_over_positions(self._normalised(inputs.float()) * grad_output.float(), out)

    def _normalised(self, inputs: Tensor) -> Tensor:
        """n(x), of what comes out for a weight of ones what does not for one of zeros."""
        ones = torch.ones(self.parameter.numel(), device=inputs.device)
        return _computed(self.module, inputs, ones, ones * 0) - _computed(self.module, inputs, ones * 0, ones * 0)


class NormBias(AddedVector):
    """b, shape (features,)."""

    @property
    def is_of_base(self) -> bool:
        """Always."""
        return True


def _computed(module: nn.Module, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What the module makes of `inputs` with another weight and, if it has one, another bias."""
    other = copy.copy(module)
    other._parameters = {
        name: None if value is None else nn.Parameter({"weight": weight, "bias": bias}[name], requires_grad=False)
        for name, value in module._parameters.items()
    }
    with torch.no_grad():
        output: Tensor = type(module).forward(other, inputs.to(weight.device))
    return output
