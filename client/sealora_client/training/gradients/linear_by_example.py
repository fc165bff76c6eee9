"""A LoRA matrix whose backward pass hands out what per-example gradients are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sealora_common.errors import ModelError

Forward = Callable[[Tensor], Tensor]
Sink = Callable[[Tensor, Tensor], None]
"""Takes a matrix's inputs and the gradient of its outputs, once a backward pass and use of the matrix."""


class _LinearByExample(torch.autograd.Function):
    """y = x W^T whose backward hands (x, dL/dy) to a sink in place of computing a gradient of W."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, sink: Sink) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.sink = sink
        return nn.functional.linear(inputs, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, None, None]:
        inputs, weight = ctx.saved_tensors
        ctx.sink(inputs, grad_output)
        if not ctx.needs_input_grad[0]:
            return None, None, None
        # Under autocast the output, and so its gradient, has another dtype than the operands.
        return (grad_output @ weight.to(grad_output.dtype)).to(inputs.dtype), None, None


def collecting_forward(module: nn.Linear, sink: Sink) -> Forward:
    """A forward pass of `module` that gives the same values and calls `sink` in the backward pass."""

    def forward(inputs: Tensor) -> Tensor:
        output: Tensor = _LinearByExample.apply(inputs, module.weight, sink)  # type: ignore[no-untyped-call]
        return output

    return forward


def require_supported(linears: Sequence[tuple[str, nn.Linear]]) -> None:
    """Refuses matrices whose gradients cannot be told apart by example.

    Raises:
        ModelError: a module is not a plain, bias-free, unshared, trainable `nn.Linear` on one device with the others,
            or is part of a routed expert.
    """
    seen: set[int] = set()
    for name, module in linears:
        if type(module) is not nn.Linear:
            why = f"is a {type(module).__name__}, not a plain nn.Linear"
        elif module.bias is not None:
            why = "has a bias (lora_bias)"
        elif id(module.weight) in seen:
            why = "shares its weight with another matrix"
        elif module.weight.device != linears[0][1].weight.device:
            why = f"is on {module.weight.device} while others are on {linears[0][1].weight.device}"
        elif not module.weight.requires_grad:
            why = "is frozen"
        elif ".experts." in name:
            why = "belongs to a routed expert, where tokens of all examples are mixed"
        else:
            seen.add(id(module.weight))
            continue
        raise ModelError(
            f"{name} {why}, so its gradients cannot be told apart by example: leave it out of lora.target_modules"
        )
