"""What is asked of a kind of file, and how it tells what it cannot read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NoReturn, Protocol

from sealora_client.data.formats.format import Row
from sealora_common.errors import DataError

Noun = Literal["line", "row", "object"]
"""What a file's rows are counted in: lines of text, rows of a table, objects of a list."""


class RowError(DataError):
    """A row that cannot be read, or used.

    Attributes:
        place: its file, and where it stands there; begins the sentence.
        line: its number in the site's data.
        reason: what is wrong and what to do, the same for all rows of which the same is wrong.
    """

    def __init__(self, place: str, line: int, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.line = line
        self.reason = reason


Tell = Callable[[DataError], None]
"""Takes what is wrong with a row, or with the rest of a file. Reading goes on behind it if it returns."""


def refuse(error: DataError) -> NoReturn:
    """A `Tell` that ends reading at the first problem."""
    raise error


class FileKind(Protocol):
    """Reads files of one kind.

    Attributes:
        noun: what its rows are counted in.
    """

    noun: Noun

    def rows(self, path: Path, tell: Tell = refuse) -> Iterator[Row]:
        """The rows that can be read, in order, one at a time; their `line` counts from 1 in this file.

        Args:
            path: the file, which a sentence begins with.
            tell: is told each problem where it is met: a `RowError`, or a `DataError` on the rest of the file.

        Raises:
            DataError: what `tell` raises, and nothing else, whatever the file holds.
        """


def place_of(path: Path, noun: Noun, number: int) -> str:
    """How a sentence on one row begins."""
    return f"{path}, {noun} {number}"
