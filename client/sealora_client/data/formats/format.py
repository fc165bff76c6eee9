"""What reading records asks of a kind of file: its objects, with their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

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
            raise self.missing(field, absent)
        return self.checked_text(self.fields[field], f'the field "{field}"', "drop the line")

    def text_if_any(self, field: str) -> str | None:
        """The text in `field`; None if there is no such field, or it is null or blank.

        Raises:
            DataError: it is no text, or no Unicode.
        """
        value = self.fields.get(field)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        return self.text(field, "")

    def missing(self, field: str, absent: str) -> DataError:
        """Says that there is no such field; arguments as of `text`."""
        return DataError(f'{self.place}: the field "{field}" is missing: {absent}')

    def checked_text(self, value: object, what: str, otherwise: str = "drop the record") -> str:
        """`value` if it is a text that is not blank.

        Args:
            value: of a field, or within one.
            what: names it in a sentence.
            otherwise: what to do if it has no text, to end a sentence with.

        Raises:
            DataError: it is no text, blank, or no Unicode.
        """
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{self.place}: {what} is not a non-empty string: give it some text or {otherwise}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{self.place}: {what} holds half of a surrogate pair, which is no text: write the whole character"
            ) from error
        return value


Rows = Callable[[Path], Iterator[Row]]
"""A kind of file: its objects in order, one at a time.

Raises `DataError` where the file cannot be read or holds something else, with the place.
"""
