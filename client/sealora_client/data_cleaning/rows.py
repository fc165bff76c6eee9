"""The objects of a site's data beside the records they make, before anything is said of the data as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from sealora_client.data.formats.format import Row
from sealora_client.data.formats.kind import RowError
from sealora_client.data.layouts.choice import layout_of
from sealora_client.data.persons import Persons
from sealora_client.data.record import Record
from sealora_client.data.records import require_fit, row_problem
from sealora_client.data.source.places import Places
from sealora_client.data.source.problems import Problems
from sealora_client.data.source.rows import source_rows
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection


class SourceRows:
    """Reads the objects of one site's data, and makes records of them as `read_records` does, but for its parts.

    Args:
        path: of the data.
        section: of the recipe.
        left_out: is told the number of each object that is no record; None if there is to be none.
    """

    def __init__(self, path: Path, section: DataSection, left_out: Callable[[int], None] | None = None) -> None:
        places = Places(str(path))
        self._path = path
        self._places = places
        self._section = section
        self._left_out = left_out
        self._problems = Problems(places)
        self._layout = layout_of(section)
        self._persons = None if section.person_field is None else Persons(places, section)

    def __iter__(self) -> Iterator[Row]:
        """The objects that can be read, in order."""
        return source_rows(self._path, self._places, self._tell)

    def record(self, row: Row) -> Record | None:
        """The record in `row`, with its person if there are any; None if it is none, which is told."""
        try:
            record = self._layout.record(row)
            if self._section.trim:
                record = record.trimmed()
            if self._persons is None:
                return record
            require_fit(row, self._section.person_field)
            return replace(record, person=self._persons.of(row.line, row.fields))
        except DataError as error:
            self._tell(row_problem(row, error))
            return None

    def require_sound(self) -> None:
        """To be asked when all are read.

        Raises:
            DataError: something was wrong with the data, or with an object that is not left out: all of it at once.
        """
        self._problems.raise_any()

    def _tell(self, error: DataError) -> None:
        if self._left_out is not None and isinstance(error, RowError):
            self._left_out(error.line)
        else:
            self._problems.tell(error)
