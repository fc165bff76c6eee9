"""CSV and TSV (RFC 4180): a header, then a record a line, in UTF-8. Every value is a text, an empty one null."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sealora_client.data.formats.content import not_utf8, peeked, require_text
from sealora_client.data.formats.format import Row
from sealora_client.data.formats.kind import FileKind, Noun, RowError, Tell, place_of, refuse
from sealora_client.data.formats.lines import lines_of
from sealora_client.data.formats.packed import opened, unpacked_name
from sealora_common.config import LINE
from sealora_common.errors import DataError, UnreadableError
from sealora_common.show.safe_text import safe_text

_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r"sep=([,;\t|])\r?\n")
_MOST_COLUMNS = 10_000
_NAMED = 40


@dataclass(frozen=True)
class CsvTable(FileKind):
    """A table in text, quoted by `"`, which stands twice where it is meant.

    Attributes:
        delimiter: between columns; None is the tab of a TSV file, else whichever of `,`, `;`, tab and `|` the header
            has most of.
    """

    delimiter: str | None = None
    noun: Noun = "line"

    def rows(self, path: Path, tell: Tell = refuse) -> Iterator[Row]:
        """Records by their header's names, placed by the line they begin in; blank lines are skipped."""
        try:
            with opened(path) as stream:
                require_text(path, peeked(stream))
                yield from self._records(path, stream, tell)
        except DataError as error:
            tell(error)

    def _records(self, path: Path, stream: BinaryIO, tell: Tell) -> Iterator[Row]:
        lines = _Lines(path, stream, tell)
        first = next(lines, None)
        while first is not None and not first.strip():
            first = next(lines, None)
        if first is None:
            return
        separator = _SEPARATOR.fullmatch(first)
        if separator is not None:  # a spreadsheet's own line before the header
            first = next(lines, "")
        if first.lstrip().startswith(("{", "[")):
            raise DataError(f"{path}: its content is not what its name says, but JSON: name it .jsonl or .json")
        lines.again(first)
        csv.field_size_limit(LINE.longest)
        reader = csv.reader(lines, delimiter=self._found_in(path, first, separator), strict=True)
        header = _header(path, reader, lines.not_text)
        while True:
            begun = lines.number + 1
            try:
                values = next(reader, None)
            except csv.Error as error:
                tell(RowError(place_of(path, "line", begun), begun, _why(error)))
                continue
            if values is None:
                return
            if not values:
                continue
            place = place_of(path, "line", begun)
            if any(map(_has_no_text, values)):
                tell(RowError(place, begun, lines.not_text))
            elif len(values) != len(header):
                why = f"{len(values)} columns, and {len(header)} in the header: quote what holds the delimiter"
                tell(RowError(place, begun, why))
            else:
                yield Row(
                    place, begun, {name: value or None for name, value in zip(header, values, strict=True) if name}
                )

    def _found_in(self, path: Path, first: str, separator: re.Match[str] | None) -> str:
        if self.delimiter is not None:
            return self.delimiter
        if separator is not None:
            return separator[1]
        if unpacked_name(path).suffix.lower() in (".tsv", ".tab"):
            return "\t"
        bare = "".join(first.split('"')[::2])
        return max(_DELIMITERS, key=bare.count)


class _Lines:
    """The lines as the reader of CSV takes them, with how many it has taken.

    Bytes that are no UTF-8 go through it as lone surrogates, so that a record keeps its shape and is told once.

    Attributes:
        number: of the line taken last, from 1.
        not_text: what to say of a record with such bytes.
    """

    def __init__(self, path: Path, stream: BinaryIO, tell: Tell) -> None:
        self._path = path
        self._lines = lines_of(stream)
        self._tell = tell
        self._again: str | None = None
        self.number = 0
        self.not_text = ""

    def __iter__(self) -> _Lines:
        return self

    def again(self, line: str) -> None:
        """Gives the last line once more."""
        self._again = line
        self.number -= 1

    def __next__(self) -> str:
        while True:
            self.number += 1
            if self._again is not None:
                again, self._again = self._again, None
                return again
            line = next(self._lines)
            if isinstance(line, UnreadableError):
                place = place_of(self._path, "line", self.number)
                self._tell(RowError(place, self.number, f"{line}: split the record"))
                continue
            try:
                return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError:
                self.not_text = self.not_text or not_utf8(line)
                return line.decode("utf-8", "surrogateescape")


def _header(path: Path, reader: Iterator[list[str]], not_text: str) -> list[str]:
    """The columns' names; an empty one (the index that a data frame is written with) is left out of the records.

    Raises:
        DataError: it is no header.
    """
    try:
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise DataError(f"{path}: its header cannot be read, {_why(error)}") from error
    if any(map(_has_no_text, names)):
        raise DataError(f"{path}: its header is {not_text}")
    if len(names) > _MOST_COLUMNS:
        raise DataError(f"{path}: its header has more than {_MOST_COLUMNS} columns: name the columns in the first line")
    twice = next((name for place, name in enumerate(names) if name and name in names[:place]), None)
    if twice is not None:
        raise DataError(
            f'{path}: its header names "{safe_text(twice, _NAMED)}" twice: give each column its own name, in the first '
            "line"
        )
    return names


def _has_no_text(value: str) -> bool:
    return not value.isascii() and any("\udc80" <= mark <= "\udcff" for mark in value)


def _why(error: csv.Error) -> str:
    said = str(error)
    if "unexpected end" in said:
        return "a quote is opened and never closed: close it, or write it twice where it is meant"
    if "new-line character" in said:
        return "a carriage return ends no line: end lines by a line feed, or quote the column that holds it"
    if "field limit" in said:
        return f"a column of more than {LINE.longest} characters: close its quote, or split the record"
    return 'a quote stands in the middle of a column: quote the whole column, and write " twice where it is meant'
