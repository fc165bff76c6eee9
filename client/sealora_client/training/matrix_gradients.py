"""One matrix's per-example gradients: a buffer with a row for each unit of privacy."""

from __future__ import annotations

import torch
from torch import Tensor


class MatrixGradients:
    """Up to `max_rows` gradients of one LoRA matrix.

    Args:
        weight: the matrix, shape (out, in).
        start: where it begins in the flat vector.
        max_rows: most rows at once.

    Attributes:
        columns: its place in the flat vector.
    """

    def __init__(self, weight: Tensor, start: int, max_rows: int) -> None:
        rows, columns = weight.shape
        self.columns = slice(start, start + weight.numel())
        # Kept transposed where the matrix is tall: a product whose last dimension is the larger one takes half the
        # time, and norms and sums do not care.
        self._turned = rows > columns
        shape = (max_rows, columns, rows) if self._turned else (max_rows, rows, columns)
        self._gradients = torch.zeros(shape, dtype=torch.float32, device=weight.device)
        self._rows = 0
        self._stale = False

    def start(self, rows: int) -> None:
        """Clears the first `rows` rows, which are the started ones then."""
        self._rows, self._stale = rows, True

    def add_(self, inputs: Tensor, grad_output: Tensor, owners: Tensor | None) -> None:
        """Adds the examples' gradients, from tensors of shape (examples, positions, features), to their rows.

        Args:
            inputs: of the matrix.
            grad_output: the gradient of its outputs.
            owners: int64, shape (examples,): each example's row; None for the first rows in order.
        """
        left, right = (inputs, grad_output) if self._turned else (grad_output, inputs)
        left, right = left.transpose(1, 2).float(), right.float()
        if self._stale and owners is None and len(left) == self._rows:  # written over: no need to clear first
            torch.bmm(left, right, out=self._gradients[: self._rows])
            self._stale = False
        elif owners is None:
            self.rows[: len(left)].baddbmm_(left, right)
        else:
            self.rows.index_add_(0, owners, torch.bmm(left, right))

    @property
    def rows(self) -> Tensor:
        """The started rows: float32, shape (rows, out, in) or, for a tall matrix, (rows, in, out)."""
        started = self._gradients[: self._rows]
        if self._stale:
            started.zero_()
            self._stale = False
        return started

    def ordered(self, rows: Tensor) -> Tensor:
        """Rows as they are kept here, shape (n, ...), as they stand in the flat vector, shape (n, size)."""
        return (rows.transpose(1, 2) if self._turned else rows).reshape(len(rows), -1)

    def add_sum_(self, accumulator: Tensor) -> None:
        """Adds the sum of the rows in float64 to its place in the flat `accumulator`."""
        accumulator[self.columns] += self.ordered(self.rows.sum(dim=0, dtype=torch.float64)[None])[0]
