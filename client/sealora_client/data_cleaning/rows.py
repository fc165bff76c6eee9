"""The objects of a data file beside the records they make, before anything is said of the file as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.choice import layout_of
from sealora_client.data.persons import Persons
from sealora_client.data.record import Record
from sealora_client.data.source.places import Places
from sealora_client.data.source.rows import source_rows
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection


def rows_of(path: Path) -> Iterator[Row]:
    """The file's objects, in order.

    Raises:
        DataError: the file cannot be read.
    """

    def tell(error: DataError) -> None:
        raise error

    return source_rows(path, Places(str(path)), tell)


class RecordReader:
    """Makes records of one file's objects, as `read_records` does, but for what that says of parts.

    Args:
        path: the file, for messages.
        section: the recipe's.
    """

    def __init__(self, path: Path, section: DataSection) -> None:
        self._layout = layout_of(section)
        self._persons = None if section.person_field is None else Persons(Places(str(path)), section)
        self._trims = section.trim

    def record(self, row: Row) -> Record:
        """The record in `row`, with its person if there are any.

        Raises:
            DataError: it is none, or its person's identifier is like another's.
        """
        record = self._layout.record(row)
        if self._trims:
            record = record.trimmed()
        return record if self._persons is None else replace(record, person=self._persons.of(row.line, row.fields))
