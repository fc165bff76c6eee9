"""Sequences that may be larger than memory: what is beyond a bound lies in a file that has no name.

Records as text, from reading them to tokenising them, and examples, for as long as a site works on them. What is read
back is equal, to the last bit, to what was put in.
"""

from __future__ import annotations

import os
import pickle  # nosec B403 # for what this process puts aside itself, see `_read`
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO, Generic, TypeVar, overload

from sealora_common.storage.nameless import nameless_file, no_room_aside

IN_MEMORY = 32 * 2**20
"""Bytes of content that are kept in memory: a small data set needs no file, nor do a thousand in a simulation."""

Item = TypeVar("Item")


class Spool(Sequence[Item], Generic[Item]):
    """Takes items one after the other, then gives any of them, as often as wanted, to any thread.

    Equal to every sequence of equal items. What it keeps of an item in memory, once there is a file, is 8 bytes.

    Args:
        in_memory: bytes that may be in memory before all of it goes into a file; None for `IN_MEMORY`.
    """

    def __init__(self, in_memory: int | None = None) -> None:
        self._in_memory = IN_MEMORY if in_memory is None else in_memory
        self._size = 0
        self._items: list[Item] = []
        self._file: BinaryIO | None = None
        self._ends = array("Q", [0])

    def append(self, item: Item, size: int) -> None:
        """Puts an item at the end.

        Args:
            item: is not changed afterwards.
            size: bytes that it takes, more or less.

        Raises:
            StorageError: there is no room for a file.
        """
        self._size += size
        if self._file is None and self._size > self._in_memory:
            self._file = nameless_file()
            for earlier in self._items:
                self._write(self._file, earlier)
            self._items = []
        if self._file is None:
            self._items.append(item)
        else:
            self._write(self._file, item)

    def _write(self, file: BinaryIO, item: Item) -> None:
        content = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            file.write(content)
        except OSError as error:
            raise no_room_aside(error) from error
        self._ends.append(self._ends[-1] + len(content))

    def close(self) -> None:
        """Ends putting in: what is still in a buffer is written.

        Raises:
            StorageError: there is no room for it.
        """
        try:
            if self._file is not None:
                self._file.flush()
        except OSError as error:
            raise no_room_aside(error) from error

    def __len__(self) -> int:
        return len(self._items) if self._file is None else len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if self._file is None:
            return self._items[place]
        if isinstance(place, slice):
            return [self._read(self._file, number) for number in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self._read(self._file, place % len(self))

    def __iter__(self) -> Iterator[Item]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as lists have it

    def _read(self, file: BinaryIO, number: int) -> Item:
        start, end = self._ends[number], self._ends[number + 1]
        content = os.pread(file.fileno(), end - start, start)  # has no position that threads could meet at
        item: Item = pickle.loads(content)  # noqa: S301  # nosec B301 # a file of this process that nobody else can open
        return item


class Excerpt(Sequence[Item], Generic[Item]):
    """Some of a sequence, from `start` on and before `stop`, which are not copied."""

    def __init__(self, whole: Sequence[Item], start: int, stop: int) -> None:
        self._whole = whole
        self._places = range(len(whole))[start:stop]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        found = self._places[place]
        return self._whole[found] if isinstance(found, int) else [self._whole[number] for number in found]


class Joined(Sequence[Item], Generic[Item]):
    """Two sequences, one behind the other, neither of them copied."""

    def __init__(self, first: Sequence[Item], second: Sequence[Item]) -> None:
        self._first = first
        self._second = second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        number = place % len(self)
        return self._first[number] if number < len(self._first) else self._second[number - len(self._first)]

    def __iter__(self) -> Iterator[Item]:
        return chain(self._first, self._second)
