"""One JSON text with all records: a list of objects, or an object with one such list."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

from sealora_client.data.formats.content import not_utf8, peeked, require_text
from sealora_client.data.formats.format import Row
from sealora_client.data.formats.json_pieces import Piece, Pieces
from sealora_client.data.formats.kind import FileKind, Noun, RowError, Tell, place_of, refuse
from sealora_client.data.formats.packed import opened
from sealora_common.config import LINE, json_value, too_large
from sealora_common.errors import DataError, UnreadableError


class JsonFile(FileKind):
    """A list of objects, alone or in an object."""

    noun: Noun = "object"

    def rows(self, path: Path, tell: Tell = refuse) -> Iterator[Row]:
        """The list's objects."""
        try:
            with opened(path) as stream:
                head = peeked(stream)
                require_text(path, head)
                yield from _Reading(path, Pieces(stream), head, tell).objects()
        except DataError as error:
            tell(error)


class _Reading:
    """One file that is being read."""

    def __init__(self, path: Path, pieces: Pieces, head: bytes, tell: Tell) -> None:
        self._path = path
        self._pieces = pieces
        self._head = head
        self._tell = tell
        self._count = 0

    def objects(self) -> Iterator[Row]:
        first = self._pieces.first()
        if first == BOM_UTF8[:1] and self._head.startswith(BOM_UTF8):
            self._pieces.first()
            self._pieces.first()
            first = self._pieces.first()
        if first == b"[":
            yield from self._list()
        elif first == b"{":
            yield from self._list_in_object()
        elif not first:
            return
        else:
            why = _not_json(self._head)
            raise DataError(f"{self._path}: {why}")
        if self._pieces.first():
            raise DataError(
                f"{self._path}: more stands behind the end of its JSON: one file holds one list, or one object a line "
                "under the name .jsonl"
            )

    def _list(self) -> Iterator[Row]:
        while True:
            piece = self._pieces.next()
            is_empty_list = not piece.text.strip() and piece.end == b"]" and self._count == 0
            if not is_empty_list and (piece.text.strip() or piece.end):
                self._count += 1
                row = self._row(piece)
                if row is not None:
                    yield row
            if piece.end == b"]":
                return
            if piece.end != b",":
                raise self._cut_off(piece)

    def _list_in_object(self) -> Iterator[Row]:
        lists: list[str] = []
        while True:
            piece = self._pieces.next(into_lists=True)
            if piece.end == b"[":
                lists.append(piece.text.decode(errors="replace").strip().removesuffix(":").strip())
                if len(lists) > 1:
                    raise DataError(
                        f"{self._path}: it holds several lists ({lists[0]}, {lists[1]}), and nothing says which one "
                        "has the records: keep one"
                    )
                yield from self._list()
            elif piece.end == b"}":
                break
            elif piece.end != b",":
                raise self._cut_off(piece)
        if not lists:
            raise DataError(f"{self._path}: it is an object without a list of records: write a list of objects")

    def _row(self, piece: Piece) -> Row | None:
        place, value = place_of(self._path, "object", self._count), None
        try:
            if piece.too_long:
                raise too_large(LINE.longest)
            value = json_value(piece.text.decode().strip())
            why = "not a JSON object: write objects of fields, like {...}"
        except UnicodeDecodeError:
            why = not_utf8(piece.text)
        except UnreadableError as error:
            why = f"{error.reason}: write one list of JSON objects"
        if isinstance(value, dict):
            return Row(place, self._count, value)
        self._tell(RowError(place, self._count, why))
        return None

    def _cut_off(self, piece: Piece) -> DataError:
        where = f"{piece.end.decode()} stands where , or the end should" if piece.end else "its JSON has no end"
        return DataError(f"{self._path}: {where}, behind {self._count} objects: write the file anew")


def _not_json(head: bytes) -> str:
    try:
        head[:-4].decode()
    except UnicodeDecodeError:
        return not_utf8(head)
    return "its content is not what its name says, and no JSON: write a list of objects, or name what it is"


def is_json_lines(path: Path) -> bool:
    """Whether a file that is called JSON is JSON Lines: its first line is an object, and something comes after it.

    Raises:
        DataError: it cannot be read.
    """
    with opened(path) as stream:
        line = stream.readline(LINE.longest).removeprefix(BOM_UTF8)
        while line.isspace():
            line = stream.readline(LINE.longest)
        if not line.lstrip().startswith(b"{"):
            return False
        try:
            json_value(line.decode().strip())
        except (UnicodeDecodeError, UnreadableError):
            return False
        rest = stream.readline(2**16)
        while rest.isspace():
            rest = stream.readline(2**16)
        return bool(rest)
