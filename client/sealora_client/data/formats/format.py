"""What stands between a kind of file and a layout: a row, one object of a site's data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from sealora_common.errors import DataError
from sealora_common.show.safe_text import safe_text

_NEAR = 0.85
_NAMED = 40


@dataclass(frozen=True)
class Row:
    """One object of a site's data, of whatever kind the file is, or of a database.

    Attributes:
        place: file and line, to begin a sentence with.
        line: its number, from 1, which no other row of the site's data has. In one file, where it stands there.
        fields: values as JSON has them, by name.
        unfit: fields that are there and whose values JSON has no form for, with what they are ("bytes").
        said: what of the fields is the file's own, as it stands there, where a description has added to it or read more
            into it: a record is known again by that. None if that is all of them.
    """

    place: str
    line: int
    fields: Mapping[str, object]
    unfit: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, object] | None = None

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
        """Says that there is no such field, or none that can be read; arguments as of `text`."""
        if field in self.unfit:
            return DataError(
                f'{self.place}: the field "{field}" is {self.unfit[field]}, which is no text: write it as text, or '
                "name another field"
            )
        return DataError(f'{self.place}: the field "{field}" is missing{self._near(field)}: {absent}')

    def _near(self, field: str) -> str:
        """The field whose name is nearly that one, to ask about; as two spellings of one name differ in case alone."""
        names = {name.casefold(): name for name in self.fields}
        close = get_close_matches(field.casefold(), names, n=1, cutoff=_NEAR)
        return f', did you mean "{safe_text(names[close[0]], _NAMED)}"?' if close else ""

    def checked_text(self, value: object, what: str, otherwise: str = "drop the record") -> str:
        """`value` if it is a text that is not blank.

        Args:
            value: of a field, or within one.
            what: names it in a sentence.
            otherwise: what to do if it has no text, to end a sentence with.

        Raises:
            DataError: it is no text, blank, or no Unicode.
        """
        if value is not None and not isinstance(value, str):
            raise DataError(
                f"{self.place}: {what} is not a non-empty string but {_kind(value)}: write it as a text, or {otherwise}"
            )
        if value is None or not value.strip():
            raise DataError(f"{self.place}: {what} is not a non-empty string: give it some text or {otherwise}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{self.place}: {what} holds half of a surrogate pair, which is no text: write the whole character"
            ) from error
        return value


def _kind(value: object) -> str:
    """What a value is that is no text, as JSON has it."""
    kinds = {bool: "a truth value", int: "a whole number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "something else")
