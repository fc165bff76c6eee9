"""A site's records as one file holds them: whose each is, which part it belongs to, and whether the whole is sound."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from sealora_client.data.fingerprint import digest_of_row
from sealora_client.data.formats.choice import file_kind
from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.choice import layout_of
from sealora_client.data.layouts.layout import absent
from sealora_client.data.persons import Persons
from sealora_client.data.record import Record
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection


@dataclass(frozen=True)
class Split:
    """A site's records, those that are trained on and those that only measure, in the order of the file."""

    train: list[Record]
    heldout: list[Record]


def read_records(path: Path, section: DataSection) -> Split:
    """Reads a file of the kind its name says, in the recipe's layout.

    A record whose split field is absent or null is held out or not by a hash of its own content, or of its person. So
    the split never changes when records are added, removed or reordered, equal records fall into the same part, and
    no person is in both.

    Raises:
        DataError: the file cannot be read, a line is no good record, a person or a record is in both parts, or one
            of the two parts is empty.
    """
    split = Split([], [])
    persons = Persons(path, section) if section.person_field is not None else None
    first_of_person: dict[str, tuple[str, int]] = {}
    first_of_text: dict[tuple[str, ...], tuple[str, int]] = {}
    layout = layout_of(section)
    rows = file_kind(path)
    for row in rows(path):
        line = row.line
        record = replace(layout.record(row), row=digest_of_row(row.fields, without=section.split_field))
        if section.trim:
            record = record.trimmed()
        if persons is not None:
            record = replace(record, person=persons.of(line, row.fields))
        if section.task_field is not None:
            record = replace(record, task=row.text(section.task_field, absent("task_field")).strip())
        part = _part(row, record, section)
        if record.person is not None:
            before, first = first_of_person.setdefault(record.person, (part, line))
            if before != part:
                raise DataError(
                    f'{path}, lines {first} and {line}: one person is in both parts, there as "{before}" and here as '
                    f'"{part}": give all their records the same "{section.split_field}", or leave that field out'
                )
        before, first = first_of_text.setdefault(record.texts, (part, line))
        if before != part:
            raise DataError(
                f'{path}, lines {first} and {line}: the same record is in both parts, there as "{before}" and here as '
                f'"{part}": what was trained on measures nothing and would be paid for twice, so drop one of them'
            )
        (split.train if part == "train" else split.heldout).append(record)
    if not split.train and not split.heldout:
        raise DataError(f"{path} has no records: write one JSON object a line")
    if not split.train:
        raise DataError(
            f"{path} has no training records, only held-out ones: "
            f'set "{section.split_field}" to "train" in some, or add records'
        )
    if not split.heldout:
        raise DataError(
            f"{path} has no held-out records to measure with: "
            f'set "{section.split_field}" to "heldout" in some, add records, or raise data.heldout_fraction'
        )
    return split


def _part(row: Row, record: Record, section: DataSection) -> str:
    part = row.fields.get(section.split_field)
    if part is None:
        owner = list(record.texts) if record.person is None else [record.person]
        content = json.dumps(owner).encode()
        fraction = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
        return "heldout" if fraction < section.heldout_fraction else "train"
    if part not in ("train", "heldout"):
        raise DataError(
            f'{row.place}: the field "{section.split_field}" is {json.dumps(part)}: '
            'write "train" or "heldout", or leave the field out'
        )
    return str(part)
