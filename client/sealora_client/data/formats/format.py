"""What stands between a kind of file and a layout: a row. And what reading records asks of a layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sealora_client.data.record import Record
from sealora_common.errors import DataError


@dataclass(frozen=True)
class Row:
    """One object of a site's data, of whatever kind the file is, or of a database.

    Attributes:
        place: file and line, to begin a sentence with.
        line: its number, from 1, which no other row of the site's data has. In one file, where it stands there.
        fields: values as JSON has them, by name.
        unfit: fields that are there and whose values JSON has no form for, with what they are ("bytes").
    """

    place: str
    line: int
    fields: Mapping[str, object]
    unfit: Mapping[str, str] = field(default_factory=dict)

    def text(self, field: str, absent: str) -> str:
        """The text in `field`, which is not blank.

        Args:
            field: its name.
            absent: what to do if there is no such field, to end a sentence with.

        Raises:
            DataError: it is missing, no text, blank, or no Unicode.
        """
        if field in self.unfit:
            raise DataError(
                f'{self.place}: the field "{field}" is {self.unfit[field]}, which is no text: write it as text, or '
                "name another field"
            )
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


class DataFormat(Protocol):
    """A layout: which fields of an object make a record, and how."""

    def record(self, row: Row) -> Record:
        """The record in `row`, with its line and without its person. It depends on this row alone.

        Raises:
            DataError: it is none; the sentence begins with the row's place.
        """
