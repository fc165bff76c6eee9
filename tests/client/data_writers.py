"""Writes files of data of every kind, whole and not."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import yaml
from pyarrow import feather, parquet

TRAIN = {"prompt": "p", "response": "r", "split": "train"}
HELDOUT = {"prompt": "q", "response": "r", "split": "heldout"}
GOOD = [TRAIN, HELDOUT]
Writer = Callable[[Path], object]


def content(data: bytes | str) -> Writer:
    return lambda path: path.write_bytes(data.encode() if isinstance(data, str) else data)


def lines(*values: object) -> bytes:
    return b"".join((value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n" for value in values)


def jsonl(*values: object) -> Writer:
    return content(lines(*values))


def listed(*values: object) -> Writer:
    return content(b"[" + b",\n".join(v if isinstance(v, bytes) else json.dumps(v).encode() for v in values) + b"]")


def table(rows: list[dict[str, object]], schema: pa.Schema | None = None) -> pa.Table:
    return pa.Table.from_pylist(rows, schema)


def as_parquet(rows: list[dict[str, object]], schema: pa.Schema | None = None) -> Writer:
    return lambda path: parquet.write_table(table(rows, schema), path)


def as_feather(rows: list[dict[str, object]], schema: pa.Schema | None = None) -> Writer:
    return lambda path: feather.write_feather(table(rows, schema), path)


def as_stream(rows: list[dict[str, object]]) -> bytes:
    made, sink = table(rows), io.BytesIO()
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return sink.getvalue()


def bytes_of(write: Writer, change: Callable[[bytes], bytes]) -> Writer:
    """What `write` makes, changed."""

    def build(path: Path) -> None:
        write(path)
        path.write_bytes(change(path.read_bytes()))

    return build


def saved(path: Path, files: dict[str, bytes], state: object = None) -> None:
    path.mkdir()
    for name, data in files.items():
        (path / name).write_bytes(data)
    named = {"_data_files": [{"filename": name} for name in files]}
    (path / "state.json").write_text(json.dumps(named if state is None else state))


def described(description: object, **files: bytes) -> Writer:
    """A description, with files beside it."""

    def build(path: Path) -> None:
        for name, data in files.items():
            (path.parent / name.replace("_", ".")).write_bytes(data)
        path.write_text(description if isinstance(description, str) else yaml.safe_dump(description))

    return build


def database(query: str, rows: Sequence[tuple[object, ...]] = ()) -> Writer:
    """A description of an SQLite database with the table `notes`."""

    def build(path: Path) -> None:
        with closing(sqlite3.connect(path.parent / "own.db")) as made, made:
            made.execute("CREATE TABLE notes (prompt, response, split)")
            made.executemany("INSERT INTO notes VALUES (?, ?, ?)", rows or [tuple(row.values()) for row in GOOD])
        path.write_text(yaml.safe_dump({"sql": {"url": "sqlite:///own.db", "query": query}}))

    return build


def packed_bomb(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(70):
            file.write(b" " * (2**20 - 1) + b"\n")
