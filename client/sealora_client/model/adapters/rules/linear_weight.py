"""The weight of a linear map: its gradient by example is one small product, (dL/dy_i)^T x_i."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sealora_client.model.adapters.rules.trained_tensor import Forward, Sink, TrainedTensor


class _CollectingLinear(torch.autograd.Function):
    """y = x W^T whose backward hands (x, dL/dy) to a sink in place of computing a gradient of W.

    x may be of fewer bits than W. It is kept until the backward pass as it is, and widened where it is used.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, sink: Sink) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.sink = sink
        return nn.functional.linear(inputs.to(weight.dtype), weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, None, None]:
        inputs, weight = ctx.saved_tensors
        ctx.sink(inputs, grad_output)
        if not ctx.needs_input_grad[0]:
            return None, None, None
        # Under autocast the output, and so its gradient, has another dtype than the operands.
        return (grad_output @ weight.to(grad_output.dtype)).to(inputs.dtype), None, None


@dataclass(frozen=True)
class LinearWeight(TrainedTensor):
    """W of y = x W^T, shape (out, in).

    Attributes:
        linear: the map, which has no bias.
        names_it: the field of the recipe that names the layer it belongs to.
    """

    linear: nn.Linear
    names_it: str = "lora.target_modules"

    @property
    def module(self) -> nn.Module:
        """The map."""
        return self.linear

    @property
    def parameter(self) -> nn.Parameter:
        """W."""
        return self.linear.get_parameter("weight")

    @property
    def setting(self) -> str:
        """As given."""
        return self.names_it

    def refusal(self) -> str | None:
        """It holds for a plain `nn.Linear` without bias; any other module may use its weight in other ways."""
        if type(self.linear) is not nn.Linear:
            return f"is a {type(self.linear).__name__}, not a plain nn.Linear"
        return None if self.linear.bias is None else "has a bias (lora_bias)"

    def forward(self, sink: Sink, inner: Forward) -> Forward:
        """Gives the sink x and dL/dy; W x is all that the module does."""

        def forward(inputs: Tensor) -> Tensor:
            output: Tensor = _CollectingLinear.apply(inputs, self.linear.weight, sink)  # type: ignore[no-untyped-call]
            return output

        return forward

    @property
    def kept_shape(self) -> tuple[int, int]:
        """(out, in), or for a tall matrix (in, out)."""
        rows, columns = self.parameter.shape
        return (columns, rows) if self._turned else (rows, columns)

    def gradients(self, inputs: Tensor, grad_output: Tensor, out: Tensor | None = None) -> Tensor:
        """One batched product."""
        left, right = (inputs, grad_output) if self._turned else (grad_output, inputs)
        return torch.bmm(left.transpose(1, 2).float(), right.float(), out=out)

    def ordered(self, rows: Tensor) -> Tensor:
        """As W stands, row by row."""
        return (rows.transpose(1, 2) if self._turned else rows).reshape(len(rows), -1)

    @property
    def _turned(self) -> bool:
        # Kept transposed where the matrix is tall: a product whose last dimension is the larger one takes half the
        # time, and norms and sums do not care.
        rows, columns = self.parameter.shape
        return bool(rows > columns)


@dataclass(frozen=True)
class InputWeight(LinearWeight):
    """The weight of a map that a layer of PEFT's applies to its own inputs, such as LoRA's A.

    PEFT widens the inputs of each layer to the adapter's float32 first, and so a copy of twice the size would be kept
    for the backward pass of each layer, where one of the base model's 16 bits serves all that share it. Here they come
    as they are, and the same values are multiplied.

    Attributes:
        layer: PEFT's. It has no dropout, which would be drawn in the inputs' precision.
    """

    layer: nn.Module = field(kw_only=True)

    @property
    def module(self) -> nn.Module:
        """The layer."""
        return self.layer

    def forward(self, sink: Sink, inner: Forward) -> Forward:
        """The layer's own, in which the map gives the sink x and dL/dy."""
        collecting = super().forward(sink, self.linear.forward)

        def forward(*given: Any, **named: Any) -> Tensor:
            with _set(self.layer, "cast_input_dtype_enabled", False), _set(self.linear, "forward", collecting):
                return inner(*given, **named)

        return forward


@contextmanager
def _set(module: nn.Module, name: str, value: object) -> Iterator[None]:
    """Within it the module's own attribute of that name is `value`."""
    own = module.__dict__
    there, before = name in own, own.get(name)
    own[name] = value
    try:
        yield
    finally:
        if there:
            own[name] = before
        else:
            del own[name]
