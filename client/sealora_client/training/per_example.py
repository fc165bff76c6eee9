"""Per-example gradients of LoRA matrices, all examples of a micro-batch in one backward pass.

A LoRA matrix is a small linear map y = x W^T, so the gradient of example i's loss with respect to W is one small
product, (dL/dy_i)^T x_i. A custom backward computes it for all examples by one batched product, in float32, into
the rows of a flat buffer G of shape (batch, parameters); W itself receives no gradient. Examples do not meet
anywhere else in a language model's forward pass, so backpropagating the SUM of per-example losses leaves
example i's gradient, and nothing else, in row i.

    gradients = PerExampleGradients(linears, max_batch=8)
    with gradients:
        for batch in micro_batches:
            gradients.begin(batch_size, length)
            per_example_losses.sum().backward()
            clipped = gradients.clipped_sum_(accumulator, clip_norm=1.0)

Clipping is that of Abadi et al. 2016 (arXiv:1607.00133, Alg. 1): g_i * min(1, C / ||g_i||), one norm over all
trained matrices. It is applied to what stands in G, in float64, so the bound holds whatever the precision of the
model's own arithmetic. Exact under both kinds of gradient checkpointing, under dropout, and on a 4-bit base.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from sealora_common.errors import ModelError

_NORM_BLOCK = 1 << 20  # columns of G converted to float64 at a time

Forward = Callable[[Tensor], Tensor]
Sink = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class ClippedBatch:
    """What clipping did to one micro-batch. It describes the site's records and must not leave the site.

    Attributes:
        norms: float64 on the CPU, shape (batch,): each example's gradient norm before clipping, inf or nan where
            the gradient was not finite.
        clipped: how many examples exceeded the clipping norm.
        non_finite: how many examples had no finite gradient and contributed nothing.
    """

    norms: Tensor
    clipped: int
    non_finite: int


class PerExampleGradients:
    """Collects per-example gradients of `linears` while it is entered as a context manager.

    Args:
        linears: (tensor name, module) of every matrix to differentiate, in the order of the flat vector.
        max_batch: most examples in one backward pass.

    Attributes:
        size: P, number of elements of all matrices together.
        flat: float32 on the matrices' device, shape (max_batch, P): row i is example i's gradient.

    Raises:
        ModelError: a module is not a plain, bias-free, unshared `nn.Linear`, or is part of a routed expert.
    """

    def __init__(self, linears: Sequence[tuple[str, nn.Linear]], max_batch: int) -> None:
        if not linears or max_batch < 1:
            raise ValueError(f"expected matrices and a batch size, got {len(linears)=} and {max_batch=}")
        _require_supported(linears)
        self._modules = [module for _, module in linears]
        self.size = sum(module.weight.numel() for module in self._modules)
        self.flat = torch.zeros(max_batch, self.size, dtype=torch.float32, device=self._modules[0].weight.device)
        self._views = []
        start = 0
        for module in self._modules:
            columns = self.flat[:, start : start + module.weight.numel()]
            self._views.append(columns.view(max_batch, *module.weight.shape))
            start += module.weight.numel()
        self._batch = 0
        self._length = 0
        self._arrivals = 0
        self._replaced: list[tuple[nn.Module, Forward | None]] = []

    def __enter__(self) -> PerExampleGradients:
        for index, module in enumerate(self._modules):
            self._replaced.append((module, module.__dict__.get("forward")))
            module.__dict__["forward"] = _collecting_forward(module, self._sink(index))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._replaced:
            module, original = self._replaced.pop()
            if original is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = original

    def begin(self, batch: int, length: int) -> None:
        """Clears the rows for a micro-batch of `batch` examples padded to `length` tokens.

        Raises:
            ValueError: the batch is larger than `max_batch`, or empty.
        """
        if not 1 <= batch <= len(self.flat):
            raise ValueError(f"expected 1 to {len(self.flat)} examples, got {batch=}")
        self._batch, self._length, self._arrivals = batch, length, 0
        self.flat[:batch].zero_()

    def clipped_sum_(self, accumulator: Tensor, clip_norm: float) -> ClippedBatch:
        """Adds sum_i min(1, C / ||g_i||) g_i over the micro-batch to `accumulator`, in place.

        Each example adds a vector of norm at most C (1 + 1e-9) to a float64 accumulator. An example whose
        gradient is not finite adds nothing, which keeps the bound.

        Args:
            accumulator: float64, shape (P,), on the matrices' device.
            clip_norm: C, above 0; infinity does not clip.

        Raises:
            ModelError: no gradient arrived since `begin`, so the loss does not depend on the matrices.
            ValueError: the accumulator has another shape or dtype.
        """
        if accumulator.shape != (self.size,) or accumulator.dtype != torch.float64:
            raise ValueError(f"expected float64 of shape ({self.size},), got {accumulator.dtype} {accumulator.shape}")
        if self._arrivals == 0:
            raise ModelError(
                "the loss does not reach the adapter, so training would learn nothing but noise: if "
                "model.gradient_checkpointing is on, call enable_input_require_grads() on the model"
            )
        norms = self.norms()
        clipped = non_finite = 0
        for row, norm in zip(self.flat, norms.tolist(), strict=False):
            if not math.isfinite(norm):
                non_finite += 1
                continue
            clipped += norm > clip_norm
            # Type promotion makes this one pass in float64, with no copy of the row.
            accumulator.add_(row, alpha=min(1.0, clip_norm / norm) if norm > 0 else 1.0)
        return ClippedBatch(norms=norms, clipped=clipped, non_finite=non_finite)

    def norms(self) -> Tensor:
        """L2 norms of the micro-batch's gradients: float64 on the CPU, shape (batch,)."""
        rows = self.flat[: self._batch]
        squares = torch.zeros(self._batch, dtype=torch.float64, device=rows.device)
        for start in range(0, self.size, _NORM_BLOCK):
            squares += rows[:, start : start + _NORM_BLOCK].double().square_().sum(dim=1)
        return squares.sqrt_().cpu()

    def _sink(self, index: int) -> Sink:
        def add_example_gradients(inputs: Tensor, grad_output: Tensor) -> None:
            # Added, not stored: a module may run more than once in one forward pass.
            left = self._by_example(grad_output).transpose(1, 2).float()
            self._views[index][: self._batch].baddbmm_(left, self._by_example(inputs).float())
            self._arrivals += 1

        return add_example_gradients

    def _by_example(self, rows: Tensor) -> Tensor:
        """`rows` as (batch, positions, features); examples come first in any layout a language model uses."""
        if rows.dim() > 2 and rows.shape[0] == self._batch:
            return rows.reshape(self._batch, -1, rows.shape[-1])
        # Some models flatten tokens before a linear map. Any other number of rows has mixed the examples.
        if rows.dim() == 2 and len(rows) in (self._batch, self._batch * self._length):
            return rows.reshape(self._batch, -1, rows.shape[-1])
        raise ModelError(
            f"a LoRA matrix saw a tensor of shape {tuple(rows.shape)} in a micro-batch of {self._batch} examples of "
            f"{self._length} tokens, so gradients cannot be told apart by example: leave that module out of "
            "lora.target_modules"
        )


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


def _collecting_forward(module: nn.Linear, sink: Sink) -> Forward:
    def forward(inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():  # evaluation, and the first pass of reentrant checkpointing
            return nn.functional.linear(inputs, module.weight)
        output: Tensor = _LinearByExample.apply(inputs, module.weight, sink)  # type: ignore[no-untyped-call]
        return output

    return forward


def _require_supported(linears: Sequence[tuple[str, nn.Linear]]) -> None:
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
