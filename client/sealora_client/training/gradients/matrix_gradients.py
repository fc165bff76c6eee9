"""One tensor's per-example gradients: a buffer with a row for each unit of privacy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sealora_client.model.adapters.rules.trained_tensor import TrainedTensor
from sealora_client.model.device import to_device

_ODD_STEP = 0x1E3779B97F4A7C16
"""Between the weights of a fingerprint: even, so that all of them are odd."""


@dataclass(frozen=True)
class Owners:
    """Whose the rows of a micro-batch are; rows past the examples are dummies and nobody's.

    Attributes:
        examples: how many of the rows are examples.
        in_order: whether example i owns row i, for all of them.
        waves: (places in the micro-batch, rows of the buffer), int64: first each owner's first example, then each
            owner's second, and so on. Within a wave all owners differ, so that adding it up has no order to choose,
            and a row is added up in the order of its own examples, also where a device adds in parallel.
    """

    examples: int
    in_order: bool
    waves: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, owners: Sequence[int], device: torch.device) -> Owners:
        """Of examples whose rows in the buffer are `owners`."""
        waves: list[tuple[list[int], list[int]]] = []
        seen: dict[int, int] = {}
        for place, owner in enumerate(owners):
            wave = seen.get(owner, 0)
            seen[owner] = wave + 1
            if wave == len(waves):
                waves.append(([], []))
            waves[wave][0].append(place)
            waves[wave][1].append(owner)
        on_device = tuple(
            (to_device(torch.tensor(places), device), to_device(torch.tensor(rows), device)) for places, rows in waves
        )
        return cls(len(owners), list(owners) == list(range(len(owners))), on_device)


class MatrixGradients:
    """Up to `max_rows` gradients of one tensor of an adapter, each kept as a matrix.

    Args:
        tensor: whose they are.
        start: where it begins in the flat vector.
        max_rows: most rows at once.

    Attributes:
        columns: its place in the flat vector.
    """

    def __init__(self, tensor: TrainedTensor, start: int, max_rows: int) -> None:
        self._tensor = tensor
        self.columns = slice(start, start + tensor.parameter.numel())
        shape = (max_rows, *tensor.kept_shape)
        self._gradients = torch.zeros(shape, dtype=torch.float32, device=tensor.parameter.device)
        self._rows = 0
        self._stale = False

    def start(self, rows: int) -> None:
        """Clears the first `rows` rows, which are the started ones then."""
        self._rows, self._stale = rows, True

    def add_(self, inputs: Tensor, grad_output: Tensor, owners: Owners) -> None:
        """Adds the examples' gradients, from tensors of shape (rows, positions, features), to their rows.

        The product is the same for all ways of adding, and a sum is begun with zero, so a row does not depend on
        which way the others made necessary.

        Args:
            inputs: what the tensor was used on.
            grad_output: the gradient of what came of it.
            owners: of the micro-batch.
        """
        if self._stale and owners.in_order and len(inputs) == self._rows:  # written over: no need to clear first
            self._tensor.gradients(inputs, grad_output, out=self._gradients[: self._rows])
            self._gradients[owners.examples : self._rows].zero_()
            self._stale = False
            return
        products, rows = self._tensor.gradients(inputs, grad_output), self.rows
        for places, of_rows in owners.waves:
            rows.index_add_(0, of_rows, products.index_select(0, places))

    @property
    def rows(self) -> Tensor:
        """The started rows: float32, shape (rows, *kept_shape)."""
        started = self._gradients[: self._rows]
        if self._stale:
            started.zero_()
            self._stale = False
        return started

    def clear_(self, which: Tensor) -> None:
        """Sets the started rows where `which`, shape (rows,), is true to zero, without asking whether any is."""
        self.rows.masked_fill_(which[:, None, None], 0.0)

    def ordered(self, rows: Tensor) -> Tensor:
        """Rows as they are kept here, shape (n, ...), as they stand in the flat vector, shape (n, size)."""
        return self._tensor.ordered(rows)

    def fingerprints(self) -> Tensor:
        """Int64, shape (rows,): sums of the rows' bits with odd weights, modulo 2^64."""
        bits = self.rows.flatten(1).view(torch.int32).to(torch.int64)
        weights = torch.arange(bits.shape[1], device=bits.device) * _ODD_STEP + 1
        return (bits * weights).sum(dim=1)

    def add_sum_(self, accumulator: Tensor) -> None:
        """Adds the sum of the rows in float64 to its place in the flat `accumulator`."""
        accumulator[self.columns] += self.ordered(self.rows.sum(dim=0, dtype=torch.float64)[None])[0]
