"""JSON Lines: one object a line, in UTF-8."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sealora_client.data.formats.content import not_utf8, peeked, require_text
from sealora_client.data.formats.format import Row
from sealora_client.data.formats.kind import FileKind, Noun, RowError, Tell, place_of, refuse
from sealora_client.data.formats.lines import lines_of
from sealora_client.data.formats.packed import opened
from sealora_common.config import json_value
from sealora_common.errors import DataError, UnreadableError


class JsonLines(FileKind):
    """One object a line."""

    noun: Noun = "line"

    def rows(self, path: Path, tell: Tell = refuse) -> Iterator[Row]:
        """The file's objects; blank lines are skipped."""
        try:
            with opened(path) as stream:
                head = peeked(stream)
                require_text(path, head)
                yield from _objects(path, stream, head, tell)
        except DataError as error:
            tell(error)


def _objects(path: Path, stream: BinaryIO, head: bytes, tell: Tell) -> Iterator[Row]:
    if head.removeprefix(BOM_UTF8).lstrip().startswith(b"["):
        raise DataError(f"{path}: its content is not what its name says, but one JSON list: name it .json")
    for number, line in enumerate(lines_of(stream), 1):
        place = place_of(path, "line", number)
        value: object = None
        why = ""
        if isinstance(line, UnreadableError):
            why = f"{line}: split the record"
        else:
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if not text:
                    continue
                value = json_value(text)
            except UnicodeDecodeError:
                why = not_utf8(line)
            except UnreadableError as error:
                why = f"{error.reason}: write one JSON object a line"
        if not why and not isinstance(value, dict):
            why = "not a JSON object: write one object of fields a line, like {...}"
        if isinstance(value, dict):
            yield Row(place, number, value)
        else:
            tell(RowError(place, number, why))
