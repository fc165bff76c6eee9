"""A vector that scales activations: its gradient by example is the sum over positions of what it scaled times dL/dy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sealora_client.model.adapters.adapt import ADAPTER
from sealora_client.model.adapters.rules.factors import Factors
from sealora_client.model.adapters.rules.trained_tensor import Forward, Sink


def scaled(inputs: Tensor, scale: Tensor) -> Tensor:
    """Each feature times its factor, in the factors' precision, as `inputs` are stored."""
    return (inputs.to(scale.dtype) * scale.flatten()).to(inputs.dtype)


class _CollectingScale(torch.autograd.Function):
    """y = x l whose backward hands (x, dL/dy) to a sink in place of computing a gradient of l."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, scale: Tensor, sink: Sink) -> Tensor:
        ctx.save_for_backward(inputs, scale)
        ctx.sink = sink
        return scaled(inputs, scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, None, None]:
        inputs, scale = ctx.saved_tensors
        ctx.sink(inputs, grad_output)
        return (scaled(grad_output, scale) if ctx.needs_input_grad[0] else None), None, None


class Scale(Factors):
    """l of y = W (l x) + b, shape (1, in), or of y = l (W x + b), shape (out, 1).

    Args:
        layer: PEFT's, around W.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer

    @property
    def module(self) -> nn.Module:
        """PEFT's layer."""
        return self._layer

    @property
    def parameter(self) -> nn.Parameter:
        """l."""
        return self._layer.get_parameter(f"ia3_l.{ADAPTER}")

    @property
    def setting(self) -> str:
        """Of the section `ia3`."""
        return "ia3.target_modules"

    def refusal(self) -> str | None:
        """None: where it may sit, `Ia3Attachment` says."""
        return None

    def plain(self, inputs: Tensor) -> Tensor:
        """The layer's own forward pass, which keeps to the precision of `inputs`; PEFT's does not, on a 4-bit base."""
        return self._around(inputs, lambda activations: scaled(activations, self.parameter))

    def forward(self, sink: Sink, inner: Forward) -> Forward:
        """Gives the sink what is scaled, and dL/dy of what comes of it; scaling W is all that the module does."""

        def scale(activations: Tensor) -> Tensor:
            output: Tensor = _CollectingScale.apply(activations, self.parameter, sink)  # type: ignore[no-untyped-call]
            return output

        return lambda inputs: self._around(inputs, scale)

    def _around(self, inputs: Tensor, scale: Forward) -> Tensor:
        base = self._layer.get_submodule("base_layer")
        output: Tensor = base(scale(inputs)) if len(self.parameter) == 1 else scale(base(inputs))
        return output
