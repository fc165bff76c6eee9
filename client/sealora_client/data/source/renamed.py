"""A site's own columns under the recipe's names, with what is the same for all of a file's records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from sealora_client.data.formats.format import Row
from sealora_client.data.formats.kind import RowError
from sealora_client.data.source.description import Constant, Description
from sealora_common.config import json_value
from sealora_common.errors import DataError, UnreadableError

_MOST_COLUMNS = 10_000

Value = TypeVar("Value")


class Renamed:
    """Does to each row what a description says.

    Args:
        path: of the description, for sentences.
        description: its `fields`, `constants` and `json_fields` are used.
    """

    def __init__(self, path: Path, description: Description) -> None:
        self._path = path
        self._description = description
        self._columns: set[str] = set()

    def of(self, row: Row, constants: Mapping[str, Constant]) -> Row:
        """The row with the recipe's names. What has one already, and is mapped to by another column, gives way.

        Args:
            row: with the site's own names.
            constants: what the row's file adds to the description's.

        Raises:
            RowError: a constant is in the row as well, or a field that is to hold JSON does not.
        """
        if len(self._columns) < _MOST_COLUMNS:
            self._columns.update(row.fields, row.unfit)
        named = replace(row, fields=self._renamed(row.fields), unfit=self._renamed(row.unfit))
        fields = dict(named.fields)
        for name, value in {**self._description.constants, **constants}.items():
            if fields.get(name) is not None or name in named.unfit:
                raise _error(row, f'the field "{name}" is in the record and among the constants: keep one of the two')
            fields[name] = value
        for name in self._description.json_fields:
            text = fields.get(name)
            if not isinstance(text, str):
                continue
            try:
                fields[name] = json_value(text)
            except UnreadableError as error:
                raise _error(
                    row, f'the field "{name}" is to hold JSON, and is {error.reason}: correct it, or json_fields'
                ) from error
        return replace(named, fields=fields, said=named.fields)

    def unseen(self) -> Iterator[DataError]:
        """A problem for each column that `fields` names and no row had, once rows have been read."""
        for name, own in self._description.fields.items():
            if self._columns and own not in self._columns and len(self._columns) < _MOST_COLUMNS:
                close = get_close_matches(own, self._columns, n=1)
                hint = f', did you mean "{close[0]}"?' if close else ""
                yield DataError(
                    f'{self._path}: fields.{name} names the column "{own}", which no record has{hint}: correct it'
                )

    def _renamed(self, fields: Mapping[str, Value]) -> dict[str, Value]:
        mapping = self._description.fields
        taken = {*mapping.values(), *mapping}
        kept = {name: value for name, value in fields.items() if name not in taken}
        return kept | {name: fields[own] for name, own in mapping.items() if own in fields}


def _error(row: Row, reason: str) -> RowError:
    return RowError(row.place, row.line, reason)
