"""The same records in every kind of file, packed or not, are the same rows."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from sealora_client.data.formats.choice import file_kind
from sealora_common.errors import DataError

from data_writers import as_feather, as_parquet, as_stream, content, jsonl

ROWS = [
    {"prompt": "What is it?", "response": 'A\nb, "c"; é 漢 \\ \' [{', "who": "007"},
    {"prompt": "p\ttab", "response": " spaced ", "who": "8"},
    {"prompt": "x" * 70_000, "response": "]}", "who": None},
]


def as_csv(rows, delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


KINDS = {
    "a.jsonl": lambda rows: jsonl(*rows),
    "a.ndjson": lambda rows: jsonl(*rows),
    "a": lambda rows: jsonl(*rows),
    "lines.json": lambda rows: jsonl(*rows),
    "a.json": lambda rows: content(json.dumps(rows)),
    "pretty.json": lambda rows: content(json.dumps(rows, indent=2, ensure_ascii=False).encode("utf-8-sig")),
    "within.json": lambda rows: content(json.dumps({"about": {"n": [1]}, "data": rows, "x": 2})),
    "a.csv": lambda rows: content(as_csv(rows)),
    "bom.csv": lambda rows: content(b"\xef\xbb\xbf" + as_csv(rows)),
    "semicolons.csv": lambda rows: content(as_csv(rows, ";")),
    "bars.csv": lambda rows: content(as_csv(rows, "|")),
    "a.tsv": lambda rows: content(as_csv(rows, "\t")),
    "a.parquet": as_parquet,
    "a.arrow": as_feather,
    "a.feather": as_feather,
    "stream.arrow": lambda rows: content(as_stream(rows)),
}
PACKINGS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_and_packing_gives_the_same_rows(name, packing, tmp_path):
    KINDS[name](ROWS)(tmp_path / name)
    path = tmp_path / f"{name}{packing}"
    path.write_bytes(PACKINGS[packing]((tmp_path / name).read_bytes()))
    rows = list(file_kind(path).rows(path))
    assert [row.fields for row in rows] == ROWS
    numbers = [row.line for row in rows]
    assert numbers == sorted(set(numbers))
    noun = file_kind(path).noun
    assert [row.place for row in rows] == [f"{path}, {noun} {number}" for number in numbers]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=60)
@given(
    rows=st.lists(st.fixed_dictionaries({"prompt": TEXT, "response": TEXT}), min_size=2, max_size=5),
    name=st.sampled_from(sorted(KINDS)),
)
def test_any_texts_come_back_from_every_kind(rows, name):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        KINDS[name](rows)(path)
        assert [row.fields for row in file_kind(path).rows(path)] == rows


BEGINNINGS = (b"", b"PAR1", b"ARROW1\x00\x00", b"\xff\xff\xff\xff", b"[", b"{", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.lists(st.dictionaries(st.text("xyz", min_size=1, max_size=2), VALUES, max_size=3), min_size=2, max_size=6))
def test_any_objects_come_back_from_a_list_that_is_never_whole_in_memory(rows):
    with tempfile.TemporaryDirectory() as directory:
        for indent in (None, 1):
            path = Path(directory) / "a.json"
            path.write_text(json.dumps(rows, indent=indent))
            assert [row.fields for row in file_kind(path).rows(path)] == rows


@settings(max_examples=200)
@given(content=st.binary(max_size=120), name=st.sampled_from([*sorted(KINDS), "a.jsonl.gz", "a.csv.zst", "a.json.xz"]))
def test_any_bytes_are_read_or_told(content, name):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        for begins in BEGINNINGS:
            path.write_bytes(begins + content)
            told: list[DataError] = []
            try:
                list(file_kind(path).rows(path, told.append))
            except DataError as error:  # that it cannot be seen what kind it is of
                told.append(error)
            assert all(str(error).startswith(str(path)) for error in told)


def test_nested_values_of_parquet_are_what_json_has(tmp_path):
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    path = tmp_path / "a.parquet"
    table = pa.table({
        "messages": pa.array([messages]),
        "tags": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())),
        "kind": pa.array(["triage"]).dictionary_encode(),
    })  # fmt: skip
    parquet.write_table(table, path)
    (row,) = file_kind(path).rows(path)
    assert row.fields == {"messages": messages, "tags": {"a": 1}, "kind": "triage"}
    assert row.unfit == {}
