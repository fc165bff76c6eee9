"""A site's records as its data holds them: whose each is, which part it belongs to, and whether the whole is sound."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sealora_client.data.fingerprint import PARTS, digest_of_record, digest_of_row
from sealora_client.data.formats.format import Row
from sealora_client.data.formats.kind import RowError
from sealora_client.data.layouts.choice import fields_read, layout_of
from sealora_client.data.layouts.layout import absent
from sealora_client.data.layouts.likely import likelier_layout
from sealora_client.data.persons import Persons
from sealora_client.data.record import Record
from sealora_client.data.source.places import Places
from sealora_client.data.source.problems import Problems
from sealora_client.data.source.rows import source_rows
from sealora_client.data.spool import Spool
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

_MOST_NAMES = 1000
_RECORD_BYTES = 256
"""What a record takes besides its text, more or less."""


@dataclass(frozen=True)
class Split:
    """A site's records, in the order of the file: their lines ascend.

    Attributes:
        train: those that are trained on.
        heldout: those that only measure.
        places: where they stand, by their lines.
        unread: names of fields that some rows have and nothing of the recipe reads, in order.
    """

    train: Sequence[Record]
    heldout: Sequence[Record]
    places: Places
    unread: tuple[str, ...] = ()


def read_records(path: Path, section: DataSection) -> Split:
    """Reads a site's data, of the kind its name says or as it is described, in the recipe's layout.

    A record whose split field is absent or null is held out or not by a hash of its own content, or of its person. So
    the split never changes when records are added, removed or reordered, equal records fall into the same part, and
    no person is in both.

    Raises:
        DataError: a file cannot be read, a line is no good record, a person or a record is in both parts, or one
            of the two parts is empty. All that is wrong is said at once, see `DataProblemsError`.
    """
    train, heldout, places, unread = _read(path, section, in_parts=True)
    if not train:
        raise DataError(
            f"{path} has no training records, only held-out ones: "
            f'set "{section.split_field}" to "train" in some, or add records'
        )
    if not heldout:
        raise DataError(
            f"{path} has no held-out records to measure with: "
            f'set "{section.split_field}" to "heldout" in some, add records, or raise data.heldout_fraction'
        )
    return Split(train, heldout, places, unread)


def read_as_one(path: Path, section: DataSection) -> tuple[Sequence[Record], Places]:
    """Reads all records of a file, whatever part it says they belong to: none is trained on.

    Raises:
        DataError: a file cannot be read, a line is no good record, or there is none.
    """
    _, records, places, _ = _read(path, section, in_parts=False)
    return records, places


def _read(
    path: Path, section: DataSection, *, in_parts: bool
) -> tuple[Sequence[Record], Sequence[Record], Places, tuple[str, ...]]:
    """The training records, the held-out ones (all, if not `in_parts`), their places, and the fields nobody read."""
    places = Places(str(path))
    train, heldout, problems = Spool[Record](), Spool[Record](), Problems(places)
    reading = _Reading(places, section, in_parts=in_parts)
    for row in source_rows(path, places, problems.tell):
        try:
            record, part = reading.record(row)
        except DataError as error:
            problems.tell(row_problem(row, error))
            continue
        if not len(problems):  # else nothing is done with them
            (train if part == "train" else heldout).append(record, _RECORD_BYTES + sum(map(len, record.texts)))
    problems.raise_any()
    train.close()
    heldout.close()
    if not train and not heldout:
        raise DataError(f"{path} has no records: write one JSON object a line, or see docs/data.md")
    return train, heldout, places, reading.unread()


class _Reading:
    """Rows of one site's data that are read one after the other, and held against those before them."""

    def __init__(self, places: Places, section: DataSection, *, in_parts: bool) -> None:
        self._places = places
        self._in_parts = in_parts
        self._section = section
        self._layout = layout_of(section)
        self._persons = Persons(places, section) if section.person_field is not None else None
        self._names: set[str] = set()
        self._of_person: dict[str, tuple[str, int]] = {}
        self._of_text: dict[bytes, tuple[str, int]] = {}

    def record(self, row: Row) -> tuple[Record, str]:
        """The row's record, with its person, and the part it belongs to.

        Raises:
            DataError: it is none, or does not go together with one before it.
        """
        if len(self._names) < _MOST_NAMES:
            self._names.update(row.fields, row.unfit)
        said = row.fields if row.said is None else row.said
        record = replace(self._laid_out(row), row=digest_of_row(said))
        if self._section.trim:
            record = record.trimmed()
        if self._persons is not None:
            require_fit(row, self._section.person_field)
            record = replace(record, person=self._persons.of(row.line, row.fields))
        if self._section.task_field is not None:
            record = replace(record, task=row.text(self._section.task_field, absent("task_field")).strip())
        part = _part(row, record, self._section) if self._in_parts else "heldout"
        if record.person is not None:
            before, first = self._of_person.setdefault(record.person, (part, row.line))
            if before != part:
                raise DataError(
                    f"{self._places.of(first, row.line)}: one person is in both parts, there as "
                    f'"{before}" and here as "{part}": give all their records the same '
                    f'"{self._section.split_field}", or leave that field out'
                )
        before, first = self._of_text.setdefault(digest_of_record(*record.texts), (part, row.line))
        if before != part:
            raise DataError(
                f"{self._places.of(first, row.line)}: the same record is in both parts, there as "
                f'"{before}" and here as "{part}": what was trained on measures nothing and would be paid for twice, '
                "so drop one of them"
            )
        return record, part

    def unread(self) -> tuple[str, ...]:
        """Fields of the rows read so far that no record was made of."""
        read = fields_read(self._section)
        return () if read is None else tuple(sorted(self._names - read))

    def _laid_out(self, row: Row) -> Record:
        try:
            return self._layout.record(row)
        except DataError as error:
            other = likelier_layout(row, self._section)
            if other is None:
                raise
            raise DataError(
                f"{error} (the record has the fields of the layout {other}: is the recipe's data.layout right?)"
            ) from error


def row_problem(row: Row, error: DataError) -> DataError:
    """The problem as one of its row's, if it is of that alone: it is then told with others of its kind."""
    said = str(error)
    own = said.removeprefix(f"{row.place}: ")
    return error if own == said else RowError(row.place, row.line, own)


def owner_of(record: Record) -> list[str]:
    """Whose part is decided with the record's: its person's, or its own, by its texts."""
    return list(record.texts) if record.person is None else [record.person]


def share_before(owner: list[str]) -> float:
    """A number in [0, 1) that follows from an owner alone: those below `data.heldout_fraction` are held out."""
    return int.from_bytes(hashlib.sha256(json.dumps(owner).encode()).digest()[:8], "big") / 2**64


def require_fit(row: Row, field: str | None) -> None:
    """Refuses a row whose `field` is there, and is nothing that can be read."""
    if field is not None and field in row.unfit:
        raise row.missing(field, "")


def _part(row: Row, record: Record, section: DataSection) -> str:
    require_fit(row, section.split_field)
    part = row.fields.get(section.split_field)
    if part is None:
        return "heldout" if share_before(owner_of(record)) < section.heldout_fraction else "train"
    if part not in PARTS:
        raise DataError(
            f'{row.place}: the field "{section.split_field}" is {json.dumps(part)}: '
            'write "train" or "heldout", or leave the field out'
        )
    return str(part)
