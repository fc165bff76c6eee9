"""Arrow's own files: IPC files (Feather), IPC streams and Parquet. Read in small batches, whatever theirs are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sealora_client.data.formats.arrow_values import fields_of
from sealora_client.data.formats.content import peeked, require_binary
from sealora_client.data.formats.format import Row
from sealora_client.data.formats.kind import FileKind, Noun, Tell, place_of, refuse
from sealora_client.data.formats.packed import seekable
from sealora_common.config import json_value
from sealora_common.errors import DataError, UnreadableError

if TYPE_CHECKING:
    import pyarrow

_BATCH = 256
"""Rows that are Python's objects at a time."""
_IPC_FILE = b"ARROW1"
_IPC_STREAM = b"\xff\xff\xff\xff"
_PARQUET = b"PAR1"
_BUFFER = 2**20


@dataclass(frozen=True)
class Parquet(FileKind):
    """A Parquet file."""

    noun: Noun = "row"

    def rows(self, path: Path, tell: Tell = refuse) -> Iterator[Row]:
        """Its rows, column by column as JSON has them."""
        yield from _told(path, tell, (_PARQUET,), "Parquet file", _of_parquet)


@dataclass(frozen=True)
class Arrow(FileKind):
    """An Arrow file (IPC file, Feather 2) or an Arrow stream."""

    noun: Noun = "row"

    def rows(self, path: Path, tell: Tell = refuse) -> Iterator[Row]:
        """Its rows, column by column as JSON has them."""
        yield from _told(path, tell, (_IPC_FILE, _IPC_STREAM), "Arrow file", _of_ipc)


def numbered(path: Path, rows: Iterator[Row], first: int) -> Iterator[Row]:
    """The rows of one file of several as those of `path`, counted on from `first`."""
    for number, row in enumerate(rows, first):
        yield replace(row, place=place_of(path, "row", number), line=number)


def _require_pyarrow(path: Path) -> None:
    """Says what to install where pyarrow is not.

    Raises:
        DataError: it is not there.
    """
    if find_spec("pyarrow") is None:
        raise DataError(f'{path}: reading it takes pyarrow, which is not installed: pip install "sealora[site]"')


def _told(
    path: Path,
    tell: Tell,
    magic: tuple[bytes, ...],
    what: str,
    batches: Callable[[BinaryIO], Iterator[pyarrow.RecordBatch]],
) -> Iterator[Row]:
    number = 0
    try:
        _require_pyarrow(path)
        with seekable(path) as stream:
            require_binary(path, peeked(stream), magic, what)
            with _in_words(path, what):
                for batch in batches(stream):
                    for fields, unfit in _rows_of(path, batch):
                        number += 1
                        yield Row(place_of(path, "row", number), number, fields, unfit)
    except DataError as error:
        tell(error)


@contextmanager
def _in_words(path: Path, what: str) -> Iterator[None]:
    """pyarrow's errors as ours. Its sentences name its own source files, and are left out."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise DataError(
            f"{path}: is damaged or cut off, and cannot be read to its end as a {what} ({type(error).__name__}): write "
            "or copy it again"
        ) from error


def _of_parquet(stream: BinaryIO) -> Iterator[pyarrow.RecordBatch]:
    from pyarrow import parquet

    file = parquet.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
    yield from file.iter_batches(batch_size=_BATCH)


def _of_ipc(stream: BinaryIO) -> Iterator[pyarrow.RecordBatch]:
    from pyarrow import ipc

    if peeked(stream).startswith(_IPC_STREAM):
        with ipc.open_stream(stream) as batches:
            yield from batches
        return
    with ipc.open_file(stream) as file:
        for place in range(file.num_record_batches):
            yield file.get_batch(place)


def _rows_of(path: Path, batch: pyarrow.RecordBatch) -> Iterator[tuple[dict[str, object], dict[str, str]]]:
    names = batch.schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f'{path}: it has two columns "{twice}": give each its own name')
    classes = _classes(batch.schema)
    batch.validate(full=True)
    for start in range(0, batch.num_rows, _BATCH):
        part = batch.slice(start, _BATCH)
        columns = [_named(_values(column), classes.get(name)) for name, column in zip(names, part.columns, strict=True)]
        for values in zip(*columns, strict=True):
            yield fields_of(zip(names, values, strict=True))


def _values(column: pyarrow.Array) -> list[object]:
    """As Python's objects. Times are cut to microseconds, beyond which they would be pandas' if that is there."""
    import pyarrow

    kind = column.type
    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    elif pyarrow.types.is_time64(kind) and kind.unit == "ns":
        column = column.cast(pyarrow.time64("us"), safe=False)
    return list(column.to_pylist(maps_as_pydicts="strict"))


def _named(values: list[object], names: list[str] | None) -> list[object]:
    """Classes by their names, which mean the same at every site, and not by the number that one file gives them."""
    if names is None:
        return values
    return [names[value] if isinstance(value, int) and 0 <= value < len(names) else None for value in values]


def _classes(schema: pyarrow.Schema) -> dict[str, list[str]]:
    """The names of the classes of columns that Hugging Face's datasets call `ClassLabel`, from the file's metadata."""
    try:
        said = json_value((schema.metadata or {}).get(b"huggingface", b"null"))
    except UnreadableError:
        return {}
    info = said.get("info") if isinstance(said, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    found: dict[str, list[str]] = {}
    for name, own in features.items() if isinstance(features, dict) else ():
        names = own.get("names") if isinstance(own, dict) and own.get("_type") == "ClassLabel" else None
        if isinstance(names, list):
            found[name] = [each if isinstance(each, str) else str(each) for each in names]
    return found
