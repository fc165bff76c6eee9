"""What training asks of one tensor of an adapter: how its gradient is told apart by example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

Forward = Callable[..., Tensor]
"""A module's forward pass."""
Sink = Callable[[Tensor, Tensor], None]
"""Takes what a tensor was used on and the gradient of what came of it, once a backward pass and use of the tensor.

Rows of both are those of the micro-batch, and their last dimension is features; in any layout between, as long as it is
the same for both.
"""


class TrainedTensor(Protocol):
    """One tensor of an adapter on a loaded model, with the rule by which its gradient is computed for each example.

    An example's gradient depends on its own rows of what the sink was given, and on nothing else, to the last bit.
    """

    @property
    def module(self) -> nn.Module:
        """Whose forward pass uses the tensor, and is replaced by `forward` while gradients are collected."""

    @property
    def parameter(self) -> nn.Parameter:
        """The tensor itself, live."""

    @property
    def setting(self) -> str:
        """Of the recipe: what to leave the module out of, to end a sentence with."""

    @property
    def is_of_base(self) -> bool:
        """Whether it begins with values of the base model, as they are in `parameter` when the adapter is attached."""
        return False

    def refusal(self) -> str | None:
        """Why the rule does not hold for this module, to follow its name in a sentence; None if it does."""

    def forward(self, sink: Sink, inner: Forward) -> Forward:
        """A forward pass of `module` that gives the same values and calls `sink` in the backward pass.

        The tensor itself receives no gradient from it.

        Args:
            sink: called as often as the tensor is used.
            inner: the module's forward pass so far: its own, or that of another tensor of the same module.
        """

    @property
    def kept_shape(self) -> tuple[int, int]:
        """Of one example's gradient as `gradients` gives it: all elements of the tensor, in whatever order is fast."""

    def gradients(self, inputs: Tensor, grad_output: Tensor, out: Tensor | None = None) -> Tensor:
        """Each example's gradient, in float32.

        Args:
            inputs: what the sink was given, shape (examples, positions, features).
            grad_output: the other it was given, shape (examples, positions, features).
            out: where to put the result, float32; None for a new tensor.

        Returns:
            Float32, shape (examples, *kept_shape).
        """

    def ordered(self, rows: Tensor) -> Tensor:
        """Gradients of shape (n, *kept_shape) as the tensor stands in the flat vector: shape (n, size)."""
