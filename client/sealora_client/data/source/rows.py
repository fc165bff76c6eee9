"""All rows of a site's data, whatever they come from, with the recipe's names for their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from sealora_client.data.formats.choice import file_kind
from sealora_client.data.formats.format import Row
from sealora_client.data.formats.kind import Noun, RowError, Tell
from sealora_client.data.formats.saved_dataset import files_of_dataset, is_saved_dataset
from sealora_client.data.source.database import query_rows
from sealora_client.data.source.description import (
    Constant,
    Description,
    files_of_entry,
    is_description,
    read_description,
)
from sealora_client.data.source.places import Places
from sealora_client.data.source.renamed import Renamed
from sealora_common.errors import DataError


def source_rows(path: Path, places: Places, tell: Tell) -> Iterator[Row]:
    """The rows that can be read, one at a time, numbered through.

    Args:
        path: a file, a saved data set's directory, or a description.
        places: is told which parts there are, as they come.
        tell: is told what cannot be read.

    Raises:
        DataError: what `tell` raises.
        StorageError: a packed file is to be unpacked aside, and there is no room for that.
    """
    parts = _Parts(places, tell)
    try:
        if is_description(path):
            yield from _described(path, read_description(path), parts, tell)
        else:
            yield from _file(path, None, parts)
    except DataError as error:
        tell(error)


def files_of(path: Path) -> list[Path]:
    """The files whose change is a change of the data; never fails. What changes in a database is not seen.

    Args:
        path: as for `source_rows`.
    """
    try:
        described = read_description(path).files if is_description(path) else ()
        named = [file for entry in described for file in files_of_entry(path, entry)]
    except (DataError, OSError):  # whoever reads it says what is wrong
        named = []
    of_each = (files_of_dataset(file) if is_saved_dataset(file) else [file] for file in named or [path])
    return [*([path] if named else []), *chain.from_iterable(of_each)]


class _Parts:
    """Numbers the rows of one part on from those of the last, and the problems of its rows likewise."""

    def __init__(self, places: Places, tell: Tell) -> None:
        self._places = places
        self._tell = tell
        self._last = 0

    def numbered(self, name: str, noun: Noun, read: Callable[[Tell], Iterator[Row]]) -> Iterator[Row]:
        before = self._last
        self._places.begin(name, noun, before)

        def tell(error: DataError) -> None:
            if isinstance(error, RowError):
                self._last = max(self._last, before + error.line)
                error = RowError(error.place, before + error.line, error.reason)
            self._tell(error)

        for row in read(tell):
            self._last = max(self._last, before + row.line)
            yield replace(row, line=before + row.line) if before else row


def _file(path: Path, delimiter: str | None, parts: _Parts) -> Iterator[Row]:
    kind = file_kind(path, delimiter)
    yield from parts.numbered(str(path), kind.noun, lambda tell: kind.rows(path, tell))


def _described(path: Path, description: Description, parts: _Parts, tell: Tell) -> Iterator[Row]:
    renamed = Renamed(path, description)

    def with_names(found: Iterator[Row], constants: Mapping[str, Constant]) -> Iterator[Row]:
        for row in found:
            try:
                yield renamed.of(row, constants)
            except RowError as error:
                tell(error)

    seen: set[Path] = set()
    for entry in description.files:
        try:
            for file in files_of_entry(path, entry):
                if file.resolve() in seen:
                    raise DataError(f"{path}: files: {file} is named twice, and its records would be: name it once")
                seen.add(file.resolve())
                try:
                    yield from with_names(_file(file, entry.delimiter, parts), entry.constants)
                except DataError as error:
                    tell(error)
        except DataError as error:
            tell(error)
    if description.sql is not None:
        asked = description.sql
        try:
            found = parts.numbered(f"{path}: sql", "row", lambda _: query_rows(path, asked))
            yield from with_names(found, {})
        except DataError as error:
            tell(error)
    for problem in renamed.unseen():
        tell(problem)
