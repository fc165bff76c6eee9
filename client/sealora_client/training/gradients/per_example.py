"""Per-example gradients of an adapter's tensors, all examples of a micro-batch in one backward pass.

A LoRA matrix, say, is a small linear map y = x W^T, so the gradient of example i's loss with respect to W is one small
product, (dL/dy_i)^T x_i. A backward of the kind's own (`TrainedTensor`) hands out what it takes to compute that for all
examples at once, in float32, and it is added to the example's row of a buffer; W itself receives no gradient. Examples
do not meet anywhere else in a language model's forward pass (`batch_invariance` asks the model at hand), so
backpropagating the SUM of per-example losses leaves example i's gradient, and nothing else, in its row. A row belongs
to one unit of privacy: an example, or a person whose examples share it, over several backward passes if they are many.
Where micro-batches have fixed shapes and all rows are started whatever is in them, a row is the same to the last bit
whatever the others are.

    gradients = PerExampleGradients(tensors, max_rows=8)
    with gradients:
        for units in micro_batches:
            gradients.start(len(units))
            gradients.begin(rows, length)
            per_example_losses.sum().backward()
            outcome = gradients.truncated_sum_(accumulator, clip_norm=1.0, grid_steps=1 << 24)

Clipping is that of Abadi et al. 2016 (arXiv:1607.00133, Alg. 1), g * min(1, C / ||g||), in one with the truncation
to an integer grid: a row becomes integers, scaled so that C is `grid_steps` of it, each cut towards zero. Cutting
lengthens no vector, and sums of integers below 2^53 are exact in float64 in whatever order they are added, so a row
changes the sum by a vector of length at most `grid_steps`, to the last bit. Exact under both kinds of gradient
checkpointing, under dropout, and on a 4-bit base.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor, nn

from sealora_client.model.adapters.rules.trained_tensor import Forward, Sink, TrainedTensor
from sealora_client.training.gradients.matrix_gradients import MatrixGradients, Owners
from sealora_client.training.gradients.supported import require_supported
from sealora_common.errors import ModelError

LARGEST_GRID = 1 << 26
"""Finest grid: sums of 2^26 rows of this length are still exact in float64."""

# Scaled rows are made a little too short, by more than float32 can make them too long: a rounded scale and a rounded
# product change a coordinate by 2^-24 of itself each, and the norm in float64 is off by far less. What lies above
# 2^23 in float32 is an integer by itself.
_SHRINK = 1 - 2.0**-22
_FLOAT32 = torch.finfo(torch.float32)


@dataclass(frozen=True)
class ClippedRows:
    """What clipping did to some rows. It describes the site's records and must not leave the site.

    It stays on the matrices' device: to read it there is to wait for all that was asked of the device before.

    Attributes:
        norms: float64, shape (rows,): each row's norm before clipping, inf or nan where the gradient was
            not finite.
        clipped: int64, shape (): how many rows exceeded the clipping norm (per layer: in some matrix).
        non_finite: int64, shape (): how many rows had no finite gradient and contributed nothing.
    """

    norms: Tensor
    clipped: Tensor
    non_finite: Tensor


class PerExampleGradients:
    """Collects per-example gradients of `tensors` while it is entered as a context manager.

    Args:
        tensors: (name, tensor) of all that is differentiated, in the order of the flat vector.
        max_rows: most units of privacy whose gradients are held at once.

    Attributes:
        size: P, number of elements of all matrices together.
        max_rows: as given.
        device: of the matrices and of the gradients.

    Raises:
        ModelError: see `require_supported`.
    """

    def __init__(self, tensors: Sequence[tuple[str, TrainedTensor]], max_rows: int) -> None:
        if not tensors or max_rows < 1:
            raise ValueError(f"expected matrices and a number of rows, got {len(tensors)=} and {max_rows=}")
        require_supported(tensors)
        self._names = [name for name, _ in tensors]
        self._tensors = [tensor for _, tensor in tensors]
        self.size = sum(tensor.parameter.numel() for tensor in self._tensors)
        self.max_rows = max_rows
        self.device = self._tensors[0].parameter.device
        self._matrices: list[MatrixGradients] = []
        start = 0
        for tensor in self._tensors:
            self._matrices.append(MatrixGradients(tensor, start, max_rows))
            start += tensor.parameter.numel()
        self._rows = 0
        self._owners = Owners.of([], self.device)
        self._batch_rows = 0
        self._length = 0
        self._arrivals = 0
        self._replaced: list[tuple[nn.Module, Forward | None]] = []

    def __enter__(self) -> PerExampleGradients:
        for index, tensor in enumerate(self._tensors):
            self._replaced.append((tensor.module, tensor.module.__dict__.get("forward")))
            tensor.module.__dict__["forward"] = tensor.forward(self._sink(index), tensor.module.forward)
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

    def start(self, rows: int) -> None:
        """Clears the first `rows` rows for as many units of privacy.

        Raises:
            ValueError: there are not so many rows, or none is asked for.
        """
        if not 1 <= rows <= self.max_rows:
            raise ValueError(f"expected 1 to {self.max_rows} rows, got {rows=}")
        self._rows, self._arrivals = rows, 0
        for matrix in self._matrices:
            matrix.start(rows)

    def begin(self, owners: Sequence[int], length: int, batch_rows: int | None = None) -> None:
        """Says whose the examples of the next backward pass are.

        Args:
            owners: the row of each example of the micro-batch, in its order, each below the number of rows started.
            length: tokens to which the examples are padded.
            batch_rows: rows of the micro-batch; those past the examples are dummies, whose gradients are dropped.
                None if there are none.

        Raises:
            ValueError: there is no example, an owner has no row, or the micro-batch has no room for the examples.
        """
        if not owners or not all(0 <= owner < self._rows for owner in owners):
            raise ValueError(f"expected owners among {self._rows} rows, got {list(owners)}")
        self._batch_rows = len(owners) if batch_rows is None else batch_rows
        if self._batch_rows < len(owners):
            raise ValueError(f"expected {len(owners)} rows in the micro-batch or more, got {batch_rows=}")
        self._length = length
        self._owners = Owners.of(owners, self.device)

    def truncated_sum_(
        self, accumulator: Tensor, clip_norm: float, grid_steps: int, *, per_layer: bool = False
    ) -> ClippedRows:
        """Adds the clipped rows, as integers, to `accumulator` in place. The rows are spent afterwards.

        Each row is scaled by grid_steps / max(C, ||g||) and truncated towards zero, which makes an integer vector of L2
        norm at most `grid_steps`. A row that is not finite adds nothing, which keeps the bound.

        Args:
            accumulator: float64, shape (P,), on the matrices' device; holds integers.
            clip_norm: C, above 0 and finite.
            grid_steps: steps of the grid that make C, at most `LARGEST_GRID`.
            per_layer: clip each of m matrices to C / sqrt(m) in place of all together to C.

        Raises:
            ModelError: no gradient arrived since `start`, so the loss does not depend on the matrices.
            ValueError: an argument does not fit.
        """
        if not (math.isfinite(clip_norm) and clip_norm > 0 and 1 <= grid_steps <= LARGEST_GRID):
            raise ValueError(f"expected a finite norm, {grid_steps=} of 1 to {LARGEST_GRID}, got {clip_norm=}")
        self._require_sum_into(accumulator)
        by_matrix = self.norms_by_matrix()
        norms = _whole(by_matrix)
        finite = norms.isfinite()
        share = math.sqrt(len(self._tensors)) if per_layer else 1.0
        lengths = by_matrix if per_layer else norms[:, None].expand_as(by_matrix)
        bound = clip_norm / share
        scales = (grid_steps / share * _SHRINK) / lengths.clamp(min=bound)
        # Below float32's normal range a scale could be rounded up by more than rows are made too short.
        scales = torch.where(scales >= _FLOAT32.tiny, scales, 0.0).clamp(max=_FLOAT32.max)
        scales = scales.to(torch.float32)
        for index, matrix in enumerate(self._matrices):  # one matrix at a time stays in the processor's cache
            matrix.clear_(~finite)  # 0 * inf would be nan
            matrix.rows.mul_(scales[:, index, None, None]).trunc_()
            matrix.add_sum_(accumulator)
        clipped = (lengths > bound).any(dim=1).logical_and(finite).sum()
        return ClippedRows(norms=norms, clipped=clipped, non_finite=(~finite).sum())

    def sum_(self, accumulator: Tensor) -> ClippedRows:
        """Adds the rows as they are to `accumulator`: training without privacy. Finite ones only.

        Raises:
            ModelError, ValueError: as for `truncated_sum_`.
        """
        self._require_sum_into(accumulator)
        norms = _whole(self.norms_by_matrix())
        finite = norms.isfinite()
        for matrix in self._matrices:
            matrix.clear_(~finite)
            matrix.add_sum_(accumulator)
        return ClippedRows(norms=norms, clipped=torch.zeros_like((~finite).sum()), non_finite=(~finite).sum())

    def rows(self) -> Tensor:
        """A copy of the started rows: float32 on the matrices' device, shape (rows, P), in order of the flat vector."""
        return torch.cat([matrix.ordered(matrix.rows) for matrix in self._matrices], dim=1)

    def fingerprints(self) -> Tensor:
        """Int64 on the matrices' device, shape (rows, matrices): of the bits of each started row in each matrix.

        Equal rows have equal fingerprints, and others hardly: it is a sum with odd weights, modulo 2^64.
        """
        return torch.stack([matrix.fingerprints() for matrix in self._matrices], dim=1)

    def norms_by_matrix(self) -> Tensor:
        """Float64 on the matrices' device, shape (rows, matrices): norms of the started rows in each matrix."""
        norms = [torch.linalg.vector_norm(matrix.rows, dim=(1, 2), dtype=torch.float64) for matrix in self._matrices]
        return torch.stack(norms, dim=1)

    def norms(self) -> Tensor:
        """Float64 on the matrices' device, shape (rows,): norms of the started rows, by which they are clipped."""
        return _whole(self.norms_by_matrix())

    def _require_sum_into(self, accumulator: Tensor) -> None:
        if accumulator.shape != (self.size,) or accumulator.dtype != torch.float64:
            raise ValueError(f"expected float64 of shape ({self.size},), got {accumulator.dtype} {accumulator.shape}")
        self.require_arrived()

    def require_arrived(self) -> None:
        """Refuses a model in which no gradient arrived since `start`.

        Raises:
            ModelError: the loss does not depend on the matrices.
        """
        if self._arrivals == 0:
            raise ModelError(
                "the loss does not reach the adapter, so training would learn nothing but noise: if "
                "model.gradient_checkpointing is on, call enable_input_require_grads() on the model"
            )

    def _sink(self, index: int) -> Sink:
        matrix = self._matrices[index]

        def add_example_gradients(inputs: Tensor, grad_output: Tensor) -> None:
            # Added, not stored: a module may run more than once in one forward pass.
            matrix.add_(self._by_example(inputs, index), self._by_example(grad_output, index), self._owners)
            self._arrivals += 1

        return add_example_gradients

    def _by_example(self, rows: Tensor, index: int) -> Tensor:
        """`rows` as (examples, positions, features); examples come first in any layout a language model uses."""
        examples = self._batch_rows
        if rows.dim() > 2 and rows.shape[0] == examples:
            return rows.reshape(examples, -1, rows.shape[-1])
        # Some models flatten tokens before a linear map. Any other number of rows has mixed the examples.
        if rows.dim() == 2 and len(rows) in (examples, examples * self._length):
            return rows.reshape(examples, -1, rows.shape[-1])
        # The sentence may leave the site: it tells no shape, which the records drawn have a part in.
        raise ModelError(
            f"{self._names[index]} saw a tensor whose rows are not those of the micro-batch, so gradients cannot be "
            f"told apart by example: leave that module out of {self._tensors[index].setting}"
        )


def _whole(by_matrix: Tensor) -> Tensor:
    """The norms of rows, of which (rows, matrices) are given in each matrix."""
    return by_matrix.square().sum(dim=1).sqrt()
