"""DoRA's magnitudes, m of y = m V(x) / ||V||: the gradient by example is the sum over positions of V(x) / ||V|| dL/dy.

The norm is a constant in gradients (Liu et al. 2024, arXiv:2402.09353, sec. 4.3), and depends on no example.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

from sealora_client.model.adapters.rules.factors import Factors
from sealora_client.model.adapters.rules.trained_tensor import Forward, Sink


class _Scaling(Protocol):
    def __call__(self, base_result: Tensor, lora_result: Tensor, magnitude: Tensor, norm: Tensor) -> Tensor: ...


def _beside(base_result: Tensor, lora_result: Tensor, magnitude: Tensor, norm: Tensor) -> Tensor:
    """What is added to the base layer's result: m / ||V|| times both, less the base layer's."""
    scale = magnitude / norm
    return (scale - 1) * base_result + scale * lora_result


class _CollectingMagnitude(torch.autograd.Function):
    """`_beside`, whose backward hands (V(x) / ||V||, dL/dy) to a sink in place of computing a gradient of m."""

    @staticmethod
    def forward(
        ctx: Any, base_result: Tensor, lora_result: Tensor, magnitude: Tensor, norm: Tensor, sink: Sink
    ) -> Tensor:
        ctx.save_for_backward(base_result, lora_result, magnitude, norm)
        ctx.sink = sink
        return _beside(base_result, lora_result, magnitude, norm)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        base_result, lora_result, magnitude, norm = ctx.saved_tensors
        ctx.sink((base_result + lora_result) / norm, grad_output)
        scale = magnitude / norm
        of_base = ((scale - 1) * grad_output).to(base_result.dtype) if ctx.needs_input_grad[0] else None
        of_lora = (scale * grad_output).to(lora_result.dtype) if ctx.needs_input_grad[1] else None
        return of_base, of_lora, None, None, None


class Magnitude(Factors):
    """m, shape (out,).

    Args:
        layer: PEFT's, which is called with what it takes to compute the rest.
        turned: whether the base layer stores its weight as (in, out).
    """

    def __init__(self, layer: nn.Module, turned: bool) -> None:
        self._layer = layer
        self._turned = turned

    @property
    def module(self) -> nn.Module:
        """PEFT's layer."""
        return self._layer

    @property
    def parameter(self) -> nn.Parameter:
        """m."""
        return self._layer.get_parameter("weight")

    @property
    def setting(self) -> str:
        """LoRA's."""
        return "lora.target_modules"

    @property
    def is_of_base(self) -> bool:
        """Always: the norms of its weights."""
        return True

    def refusal(self) -> str | None:
        """None: it sits where its matrices do."""
        return None

    def plain(self, inputs: Tensor, **parts: Any) -> Tensor:
        """The layer's own forward pass; PEFT's computes the norm in the precision of `inputs`, which may be 16 bits."""
        return self._computed(_beside, inputs, **parts)

    def forward(self, sink: Sink, inner: Forward) -> Forward:
        """Gives the sink V(x) / ||V||, and dL/dy; it is all that the module does."""

        def collecting(base_result: Tensor, lora_result: Tensor, magnitude: Tensor, norm: Tensor) -> Tensor:
            output: Tensor = _CollectingMagnitude.apply(  # type: ignore[no-untyped-call]
                base_result, lora_result, magnitude, norm, sink
            )
            return output

        return lambda inputs, **parts: self._computed(collecting, inputs, **parts)

    def _computed(
        self,
        scaling_by: _Scaling,
        inputs: Tensor,
        *,
        lora_A: nn.Module,
        lora_B: nn.Module,
        scaling: float,
        base_layer: nn.Module,
        base_result: Tensor,
        adapter_name: str,
    ) -> Tensor:
        """Named as PEFT calls it; `base_result` is what comes out of the base layer, its bias included."""
        norm = self._norm(base_layer, lora_A.get_parameter("weight"), lora_B.get_parameter("weight"), scaling)
        bias = getattr(base_layer, "bias", None)
        if isinstance(bias, Tensor):
            base_result = base_result - bias
        return scaling_by(base_result, lora_B(lora_A(inputs)) * scaling, self.parameter, norm)

    def _norm(self, base_layer: nn.Module, first: Tensor, second: Tensor, scaling: float) -> Tensor:
        """||W + s B A|| of each row, shape (out,)."""
        with torch.no_grad():
            weight = dequantize_module_weight(base_layer).to(first.dtype)
            weight = (weight.T if self._turned else weight) + scaling * (second @ first)
            norm: Tensor = torch.linalg.vector_norm(weight, dim=1)
            return norm
