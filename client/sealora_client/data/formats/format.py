"""What reading records asks of a kind of file, and what of a layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealora_client.data.record import Record
from sealora_common.errors import DataError


@dataclass(frozen=True)
class Row:
    """One object of a data file, of whatever kind the file is.

    Attributes:
        place: file and line, to begin a sentence with.
        line: where it stands in its file, from 1.
        fields: values as JSON has them, by name.
    """

    place: str
    line: int
    fields: Mapping[str, object]

    def text(self, field: str, absent: str) -> str:
        """The text in `field`, which is not blank.

        Args:
            field: its name.
            absent: what to do if there is no such field, to end a sentence with.

        Raises:
            DataError: it is missing, no text, blank, or no Unicode.
        """
        if field not in self.fields:
            raise DataError(f'{self.place}: the field "{field}" is missing: {absent}')
        text = self.fields[field]
        if not isinstance(text, str) or not text.strip():
            raise DataError(
                f'{self.place}: the field "{field}" is not a non-empty string: give it some text or drop the line'
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f'{self.place}: the field "{field}" holds half of a surrogate pair, which is no text: '
                "write the whole character"
            ) from error
        return text


Rows = Callable[[Path], Iterator[Row]]
"""A kind of file: its objects in order, one at a time.

Raises `DataError` where the file cannot be read or holds something else, with the place.
"""


class DataFormat(Protocol):
    """A layout: which fields of an object make a record, and how."""

    def record(self, row: Row) -> Record:
        """The record in `row`, with its line and without its person. It depends on this row alone.

        Raises:
            DataError: it is none; the sentence begins with the row's place.
        """
