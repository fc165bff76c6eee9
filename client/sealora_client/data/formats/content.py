"""What a file is by its first bytes, to tell it from what its name says; and what text is encoded in."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO

from sealora_common.errors import DataError

HEAD = 64
_BINARY = {
    b"PAR1": "a Parquet file: name it .parquet",
    b"ARROW1": "an Arrow file: name it .arrow",
    b"\xff\xff\xff\xff": "an Arrow stream: name it .arrow",
    b"FEA1": "a Feather file of version 1, which is no longer read: write it anew with a newer library",
    b"PK\x03\x04": "an Excel workbook or another zip archive: save its sheet as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save its sheet as CSV",
    b"SQLite format 3\x00": "an SQLite database: name it in a description (*.yaml) under sql, see docs/data.md",
    b"Obj\x01": "an Avro file: write it as Parquet",
    b"ORC": "an ORC file: write it as Parquet",
    b"%PDF": "a PDF: write its text into a file of records",
}
WORKBOOKS = frozenset({".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"})
_MARKS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16"}
_MARKS[codecs.BOM_UTF16_BE] = "UTF-16"


def peeked(stream: BinaryIO, count: int = HEAD) -> bytes:
    """The stream's next bytes, which are still to be read: at most `count`, at least one if there is one."""
    peek = getattr(stream, "peek", None)
    assert peek is not None  # noqa: S101 (what `packed` opens is buffered)
    return bytes(peek(count)[:count])


def require_text(path: Path, head: bytes) -> None:
    """Refuses what begins as no text does.

    Raises:
        DataError: the file is of another kind, or in an encoding that its first bytes name.
    """
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            raise DataError(f"{path}: its content is not what its name says, but {what}")
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            raise DataError(f"{path}: not UTF-8 text: save the file in UTF-8 (it is in {name})")


def require_binary(path: Path, head: bytes, magic: tuple[bytes, ...], what: str) -> None:
    """Refuses what does not begin as a kind of file does.

    Raises:
        DataError: the file is of another kind.
    """
    if head.startswith(magic):
        return
    require_text(path, head)
    begins = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if not head:
        raise DataError(f"{path} is empty, and so no {what}: write it anew")
    if begins in (b"{", b"["):
        raise DataError(f"{path}: its content is not what its name says, but JSON: name it .jsonl or .json")
    if head.isascii() and b"\x00" not in head:
        raise DataError(f"{path}: its content is not what its name says, but text: name it .csv or .jsonl")
    raise DataError(f"{path}: its content is no {what}, whatever its name says: write it anew, or name what it is")


def not_utf8(content: bytes) -> str:
    """What is wrong with text that cannot be decoded, with the likely encoding, and what to do; ends a sentence."""
    return f"not UTF-8 text: save the file in UTF-8 ({_likely(content)})"


def _likely(content: bytes) -> str:
    if content.count(b"\x00") * 3 > len(content):
        return "it looks like UTF-16"
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return "what it is in cannot be told"
    return "it looks like Windows-1252 or Latin-1"
