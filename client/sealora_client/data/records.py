"""A site's records: one JSON object a line, each a prompt and the response wanted from the model."""

from __future__ import annotations

import hashlib
import itertools
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealora_client.data.persons import Persons
from sealora_common.config import LINE, json_value, read_line
from sealora_common.errors import DataError, UnreadableError
from sealora_common.recipe.schema import DataSection


@dataclass(frozen=True)
class Record:
    """One record of the site, as text.

    Attributes:
        prompt: what the model is given.
        response: what it is to say.
        person: whose record it is, if the recipe names a field for that.
        line: where it stands in its file, for messages; equal records may stand anywhere.
    """

    prompt: str
    response: str
    person: str | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Split:
    """A site's records, those that are trained on and those that only measure, in the order of the file."""

    train: list[Record]
    heldout: list[Record]


def read_records(path: Path, section: DataSection) -> Split:
    """Reads a JSON Lines file (UTF-8; blank lines are skipped).

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
    first_of_text: dict[tuple[str, str], tuple[str, int]] = {}
    for line, value in _objects(path):
        place = f"{path}, line {line}"
        record = Record(
            _text(place, value, section.prompt_field, "prompt_field"),
            _text(place, value, section.response_field, "response_field"),
            None if persons is None else persons.of(line, value),
            line,
        )
        part = _part(place, value, record, section)
        if record.person is not None:
            before, first = first_of_person.setdefault(record.person, (part, line))
            if before != part:
                raise DataError(
                    f'{path}, lines {first} and {line}: one person is in both parts, there as "{before}" and here as '
                    f'"{part}": give all their records the same "{section.split_field}", or leave that field out'
                )
        before, first = first_of_text.setdefault((record.prompt, record.response), (part, line))
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


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The file's objects, each with the number of its line."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # It is read anew for every message, and opening a pipe waits for whoever writes to it.
            raise DataError(f"{path} is no file, but a directory, pipe or device: name a file of records")
        with path.open("rb") as file:
            for number in itertools.count(1):
                place = f"{path}, line {number}"
                try:
                    line = read_line(file, LINE.longest)
                except UnreadableError as error:
                    raise DataError(f"{place}: {error}: split the record") from error
                if not line:
                    return
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    raise DataError(f"{place}: not UTF-8 text: save the file in UTF-8") from error
                if not text:
                    continue
                try:
                    value = json_value(text)
                except UnreadableError as error:
                    raise DataError(f"{place}: {error.reason}: write one JSON object a line") from error
                if not isinstance(value, dict):
                    raise DataError(f"{place}: not a JSON object: write one object of fields a line, like {{...}}")
                yield number, value
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the path of this site's records") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from error


def _text(place: str, value: dict[str, Any], field: str, setting: str) -> str:
    if field not in value:
        raise DataError(
            f'{place}: the field "{field}" is missing: add it, or name the right field in the recipe\'s data.{setting}'
        )
    text = value[field]
    if not isinstance(text, str) or not text.strip():
        raise DataError(f'{place}: the field "{field}" is not a non-empty string: give it some text or drop the line')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f'{place}: the field "{field}" holds half of a surrogate pair, which is no text: write the whole character'
        ) from error
    return text


def _part(place: str, value: dict[str, Any], record: Record, section: DataSection) -> str:
    part = value.get(section.split_field)
    if part is None:
        owner = [record.prompt, record.response] if record.person is None else [record.person]
        content = json.dumps(owner).encode()
        fraction = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
        return "heldout" if fraction < section.heldout_fraction else "train"
    if part not in ("train", "heldout"):
        raise DataError(
            f'{place}: the field "{section.split_field}" is {json.dumps(part)}: '
            'write "train" or "heldout", or leave the field out'
        )
    return str(part)
