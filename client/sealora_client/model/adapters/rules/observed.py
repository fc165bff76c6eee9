"""Tensors whose module computes as ever, and whose gradient by example follows from what went in and dL/dy.

Nothing of the module's forward pass is written again, so its values are the module's own, and several tensors of one
module are observed one around the other.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sealora_client.model.adapters.rules.trained_tensor import Forward, Sink, TrainedTensor


class _Passing(torch.autograd.Function):
    """The identity, whose backward hands a sink what the module was given and the gradient of what came out of it."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, parameter: Tensor, inputs: Tensor, sink: Sink) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.sink = sink
        return output.view_as(output)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, None, None, None]:
        (inputs,) = ctx.saved_tensors
        ctx.sink(inputs, grad_output)
        # The parameter is an argument so that this is reached where nothing before it has a gradient.
        return (grad_output if ctx.needs_input_grad[0] else None), None, None, None


class ObservedTensor(TrainedTensor):
    """A vector or matrix of one module, by the name it has there.

    Args:
        module: its first argument has the examples first.
        name: of the parameter in the module.
        setting: the field of the recipe that names the module.
    """

    def __init__(self, module: nn.Module, name: str, setting: str) -> None:
        self._module = module
        self._name = name
        self._setting = setting

    @property
    def module(self) -> nn.Module:
        """As given."""
        return self._module

    @property
    def parameter(self) -> nn.Parameter:
        """The one of that name."""
        return self._module.get_parameter(self._name)

    @property
    def setting(self) -> str:
        """As given."""
        return self._setting

    def refusal(self) -> str | None:
        """None, unless a rule says otherwise."""
        return None

    def forward(self, sink: Sink, inner: Forward) -> Forward:
        """The module's own; gives the sink its first argument and the gradient of its output."""

        def forward(inputs: Tensor, *more: Any, **options: Any) -> Tensor:
            with _frozen(self.parameter):
                output = inner(inputs, *more, **options)
            passed: Tensor = _Passing.apply(output, self.parameter, inputs, sink)  # type: ignore[no-untyped-call]
            return passed

        return forward

    @property
    def kept_shape(self) -> tuple[int, int]:
        """One row."""
        return 1, self.parameter.numel()

    @abstractmethod
    def gradients(self, inputs: Tensor, grad_output: Tensor, out: Tensor | None = None) -> Tensor:
        """As the base says."""

    def ordered(self, rows: Tensor) -> Tensor:
        """Row by row."""
        return rows.flatten(1)


class AddedVector(ObservedTensor):
    """b of y = f(x) + b, shape (features,): its gradient by example is the sum of dL/dy over positions."""

    def gradients(self, inputs: Tensor, grad_output: Tensor, out: Tensor | None = None) -> Tensor:
        """A sum."""
        return summed_over_positions(grad_output, out)


def summed_over_positions(values: Tensor, out: Tensor | None = None) -> Tensor:
    """Float32 (examples, 1, features) of values (examples, positions, features), each example by itself.

    Args:
        values: of any floating type.
        out: where to put the result, float32; None for a new tensor.
    """
    return torch.sum(values.float(), dim=1, keepdim=True, out=out)


@contextmanager
def _frozen(parameter: nn.Parameter) -> Iterator[None]:
    """Within it the parameter asks for no gradient of what is computed."""
    wanted = parameter.requires_grad
    parameter.requires_grad_(False)
    try:
        yield
    finally:
        parameter.requires_grad_(wanted)
