"""A run's receipts as its rounds need them: read from the rounds' files, for a chain grows with every round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from sealora_common.receipts.receipt import Receipt


class KeptReceipts(Sequence[Receipt]):
    """The receipts of rounds 1, 2, ... of a run. Only the last one lies in memory.

    Args:
        count: how many there are.
        read: the receipt of a finished round, by its number.
    """

    def __init__(self, count: int, read: Callable[[int], Receipt]) -> None:
        self._count = count
        self._read = read
        self._last = read(count) if count else None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Receipt: ...
    @overload
    def __getitem__(self, index: slice) -> list[Receipt]: ...
    def __getitem__(self, index: int | slice) -> Receipt | list[Receipt]:
        numbers = range(1, self._count + 1)[index]
        return self._of(numbers) if isinstance(numbers, int) else [self._of(number) for number in numbers]

    def append(self, receipt: Receipt) -> None:
        """The receipt of a round that has just been stored."""
        self._count += 1
        self._last = receipt

    def _of(self, number: int) -> Receipt:
        return self._last if number == self._count and self._last is not None else self._read(number)
