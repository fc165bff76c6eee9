"""Files of data with something wrong in them, of every kind, and what is to be said of each."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import feather

from data_writers import (
    GOOD,
    HELDOUT,
    TRAIN,
    Writer,
    as_feather,
    as_parquet,
    as_stream,
    bytes_of,
    content,
    database,
    described,
    jsonl,
    lines,
    listed,
    packed_bomb,
    saved,
)


@dataclass(frozen=True)
class Broken:
    """One of them.

    Attributes:
        file: its name.
        build: writes it to a path, and what else it needs beside it.
        said: a pattern for each sentence, in order.
    """

    file: str
    build: Writer
    said: Sequence[str]


WITHOUT = {"prompt": "p", "split": "train"}
NUMBER = {"prompt": 3, "response": "r", "split": "train"}
MISSING = r'the field "response" is missing: add it'
BLANK = r'the field "prompt" is not a non-empty string'
NOT_JSON = r"not JSON \(.*\): write one"
CSV = "prompt,response,split\np,r,train\nq,r,heldout\n"
DAMAGED = r"is damaged or cut off, and cannot be read to its end as a"
LATIN = "prompt,response,split\np,r,train\nq,r\xe9sum\xe9,heldout\n".encode("latin-1")
MIXED = pa.schema([("prompt", pa.binary()), ("response", pa.string()), ("split", pa.string())])

BROKEN: dict[str, Broken] = {
    # JSON Lines.
    "three lines, each with its own": Broken(
        "d.jsonl",
        jsonl(TRAIN, WITHOUT, b"{oops", b"[1]", HELDOUT),
        ["line 2: " + MISSING, "line 3: " + NOT_JSON, "line 4: not a JSON object"],
    ),
    "the same wrong in many lines": Broken(
        "d.jsonl", jsonl(*GOOD, *[WITHOUT] * 9), [r"line 3: .*missing.* \(so too lines 4, 5, 6, 7, 8 and 3 more\)$"]
    ),
    "a part that there is not, twice": Broken(
        "d.jsonl",
        jsonl(*GOOD, TRAIN | {"split": "test"}, TRAIN | {"split": "dev"}),
        ['line 3: .* "test"', 'line 4: .* "dev"'],
    ),
    "bytes that are no text": Broken(
        "d.jsonl",
        jsonl(*GOOD, b'{"prompt": "caf\xe9"}', NUMBER),
        [r"line 3: not UTF-8 text: save .* \(it looks like Windows-1252 or Latin-1\)", "line 4: " + BLANK],
    ),
    "UTF-16": Broken(
        "d.jsonl",
        content(lines(*GOOD).decode().encode("utf-16")),
        [r"d.jsonl: not UTF-8 text: .*\(it is in UTF-16\)"],
    ),
    "a JSON list under the name of lines": Broken("d.jsonl", listed(*GOOD), ["one JSON list: name it .json"]),
    "a table under the name of lines": Broken(
        "d.jsonl", content(CSV), [r"line 1: not JSON.*\(so too lines 2, 3\)"]
    ),
    "Parquet under the name of lines": Broken("d.jsonl", as_parquet(GOOD), ["but a Parquet file: name it .parquet"]),
    "half a character": Broken("d.jsonl", jsonl(*GOOD, b'{"prompt": "\\ud83d", "response": "r"}'), ["half of a surr"]),
    "a key twice": Broken("d.jsonl", jsonl(*GOOD, b'{"a": 1, "a": 2}'), [r"line 3: the key 'a' twice"]),
    "NaN": Broken("d.jsonl", jsonl(*GOOD, b'{"prompt": NaN}'), ["line 3: NaN, which JSON does not have"]),
    "an unfinished last line": Broken("d.jsonl", jsonl(*GOOD, b'{"prompt": "p", "resp'), ["line 3: " + NOT_JSON]),
    "a line of 17 MB": Broken(
        "d.jsonl", jsonl(*GOOD, TRAIN | {"more": "x" * 17 * 2**20}, WITHOUT), ["line 3: larger", "line 4: " + MISSING]
    ),
    "a record in both parts, and another mistake": Broken(
        "d.jsonl",
        jsonl(*GOOD, HELDOUT | {"split": "train"}, WITHOUT),
        ["lines 2 and 3: the same record", "line 4: " + MISSING],
    ),
    "nothing": Broken("d.jsonl", content(b""), ["has no records"]),
    "no file": Broken("d.jsonl", lambda path: None, ["does not exist: check the path"]),
    "a directory": Broken("d.jsonl", lambda path: path.mkdir(), ["is no file, but a directory"]),
    "only training": Broken("d.jsonl", jsonl(TRAIN), ["no held-out records"]),
    "a name that says nothing, and a workbook": Broken("d", content(b"PK\x03\x04..."), ["an Excel workbook or"]),
    "more kinds of mistake than are told": Broken(
        "d.jsonl",
        jsonl(*GOOD, *({"split": f"part {n}", "prompt": "p", "response": "r"} for n in range(30))),
        [*[rf'line {n}: .*"part {n - 3}"' for n in range(3, 23)], "^and 10 more$"],
    ),
    # JSON.
    "objects of a list": Broken(
        "d.json",
        listed(TRAIN, WITHOUT, b"{oops}", 7, HELDOUT),
        ["object 2: " + MISSING, "object 3: " + NOT_JSON, "object 4: not a JSON object"],
    ),
    "a list without an end": Broken(
        "d.json", content(b"[" + lines(TRAIN).strip() + b"," + lines(HELDOUT)), ["its JSON has no end, behind 2 obj"]
    ),
    "a list that another bracket ends": Broken("d.json", content(b"[{}}"), ["object 1: .*missing", "stands where ,"]),
    "a comma too many": Broken("d.json", listed(*GOOD, b""), ["object 3: " + NOT_JSON]),
    "more behind the list": Broken("d.json", content(json.dumps(GOOD) + "\n[]"), ["more stands behind the end"]),
    "an object without a list": Broken("d.json", content('{"a": {"b": 1}}'), ["an object without a list of records"]),
    "an object with two lists": Broken(
        "d.json",
        content(json.dumps({"data": GOOD, "version": 3, "other": []})),
        [r'it holds several lists \("data", "other"\)'],
    ),
    "an object cut off": Broken("d.json", content('{"data": [{"prompt": "p"'), ["object 1: not JSON", "no end"]),
    "no JSON": Broken("d.json", content("prompt: p"), ["and no JSON: write a list of objects"]),
    "text in Latin-1": Broken(
        "d.json", listed(*GOOD, '{"prompt": "café"}'.encode("latin-1"), WITHOUT), ["object 3: not UTF-8", "object 4: "]
    ),
    "an object of 17 MB": Broken(
        "d.json", listed(*GOOD, {"more": "x" * 17 * 2**20}, WITHOUT), ["object 3: larger", "object 4: " + MISSING]
    ),
    "lines under the name of a list, one of them broken": Broken(
        "d.json", jsonl(*GOOD, b"{oops", WITHOUT), ["line 3: " + NOT_JSON, "line 4: " + MISSING]
    ),
    "an empty list": Broken("d.json", content("[]"), ["has no records"]),
    "brackets": Broken("d.json", content(b"[" * 100_000), ["object 1: lists and objects in each other", "no end"]),
    # CSV.
    "columns too few and too many": Broken(
        "d.csv",
        content(CSV + "p,r\np,r,train,x\n"),
        ["line 4: 2 columns, and 3 in the header", "line 5: 4 columns, and 3 in the header"],
    ),
    "empty cells": Broken(
        "d.csv", content(CSV + ",r,train\n p ,,train\n"), ["line 4: " + BLANK, 'line 5: the field "response" is not']
    ),
    "a quote without an end": Broken("d.csv", content(CSV + '"p,r,train\n'), ["line 4: a quote is opened and never"]),
    "a quote in the middle": Broken(
        "d.csv", content(CSV + '"p"x,r,train\n' + ",r,train\n"), ["line 4: a quote stands in", "line 5: " + BLANK]
    ),
    "no header": Broken("d.csv", content("p,r,train\nq,r,heldout\n"), [r'line 2: the field "prompt" is missing']),
    "a header with a name twice": Broken("d.csv", content("prompt,prompt\n1,2\n"), ['names "prompt" twice']),
    "a table in Latin-1": Broken(
        "d.csv", content(LATIN), [r"line 3: not UTF-8 text.*\(it looks like Windows-1252 or Latin-1\)"]
    ),
    "a header in Latin-1": Broken("d.csv", content("prompt,réponse\n".encode("latin-1")), ["its header is not UTF-8"]),
    "a table in UTF-16": Broken("d.csv", content(CSV.encode("utf-16")), ["d.csv: not UTF-8 text.*in UTF-16"]),
    "JSON under the name of a table": Broken("d.csv", jsonl(*GOOD), ["but JSON: name it .jsonl or .json"]),
    "a workbook under the name of a table": Broken("d.csv", content(b"PK\x03\x04..."), ["Excel workbook or a"]),
    "a header alone": Broken("d.csv", content("prompt,response,split\n"), ["has no records"]),
    "the lines of records that span lines": Broken(
        "d.csv",
        content('prompt,response,split\n"p\np",r,train\nq,r,heldout\n"x\n\nx",r,test\ny,r\n'),
        ['line 5: .* "test"', "line 8: 2 columns"],
    ),
    "commas under the name of tabs": Broken("d.tsv", content(CSV), [r'line 2: the field "prompt" is missing.*line 3']),
    "a workbook": Broken("d.xlsx", content(b"PK\x03\x04"), ["is a workbook, which is not read: save its sheet as CSV"]),
    # Parquet and Arrow.
    "rows of Parquet": Broken(
        "d.parquet",
        as_parquet([*GOOD, WITHOUT | {"response": None}, TRAIN | {"split": "test"}]),
        ['row 3: the field "response" is not', 'row 4: .* "test"'],
    ),
    "Parquet without a column": Broken("d.parquet", as_parquet([WITHOUT] * 3), ["row 1: .*missing.* rows 2, 3"]),
    "Parquet with bytes for text": Broken(
        "d.parquet",
        as_parquet([{**GOOD[0], "prompt": b"p"}, {**GOOD[1], "prompt": b"q"}], MIXED),
        [r'row 1: the field "prompt" is bytes, which is no text.*so too row 2'],
    ),
    "Parquet with numbers for text": Broken(
        "d.parquet", as_parquet([{**row, "prompt": 1.5} for row in GOOD]), ["row 1: " + BLANK]
    ),
    "Parquet cut off": Broken("d.parquet", bytes_of(as_parquet(GOOD), lambda data: data[:-20]), [DAMAGED]),
    "Parquet with its middle gone": Broken(
        "d.parquet", bytes_of(as_parquet(GOOD), lambda data: data[:8] + b"\xff" * 60 + data[68:]), [DAMAGED]
    ),
    "an empty Parquet file": Broken("d.parquet", content(b""), ["is empty, and so no Parquet file"]),
    "text under the name of Parquet": Broken("d.parquet", content(CSV), ["but text: name it .csv or .jsonl"]),
    "JSON under the name of Parquet": Broken("d.parquet", jsonl(*GOOD), ["but JSON: name it"]),
    "Arrow under the name of Parquet": Broken("d.parquet", as_feather(GOOD), ["but an Arrow file: name it .arrow"]),
    "anything under the name of Parquet": Broken("d.parquet", content(bytes(range(128, 256))), ["is no Parquet file"]),
    "rows of Arrow": Broken("d.feather", as_feather([*GOOD, NUMBER | {"prompt": " "}]), ["row 3: " + BLANK]),
    "Arrow cut off": Broken("d.arrow", bytes_of(as_feather(GOOD), lambda data: data[:-30]), [DAMAGED]),
    "a stream cut off": Broken("d.arrow", content(as_stream(GOOD)[:-200]), [DAMAGED]),
    "old Feather": Broken("d.feather", content(b"FEA1" + bytes(40)), ["Feather file of version 1"]),
    "two columns of one name": Broken(
        "d.arrow",
        lambda path: feather.write_feather(pa.table([pa.array(["p"])] * 2, names=["prompt", "prompt"]), path),
        ['two columns "prompt"'],
    ),
    # Saved data sets.
    "a saved data set with a bad row in its second file": Broken(
        "d",
        lambda path: saved(path, {"a.arrow": as_stream(GOOD), "b.arrow": as_stream([TRAIN, WITHOUT])}),
        ['d, row 4: the field "response" is not'],
    ),
    "a saved data set without one of its files": Broken(
        "d", lambda path: saved(path, {}, {"_data_files": [{"filename": "a.arrow"}]}), ["a.arrow does not exist"]
    ),
    "a saved data set with a path of its own": Broken(
        "d", lambda path: saved(path, {}, {"_data_files": [{"filename": "../a.arrow"}]}), ["state.json: cannot be read"]
    ),
    "a saved data set without its list": Broken("d", lambda path: saved(path, {}, []), ["state.json: cannot be read"]),
    "several saved data sets": Broken(
        "d",
        lambda path: (path.mkdir(), (path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')),
        [r"holds several data sets \(train, test\): name one of its directories, or list"],
    ),
    # Packed files.
    "a packed file cut off": Broken(
        "d.jsonl.gz", content(gzip.compress(lines(*GOOD) * 500)[:-30]), ["cannot be unpacked to its end"]
    ),
    "a packed file that is damaged": Broken(
        "d.jsonl.xz", content(lzma.compress(lines(*GOOD))[:40] + bytes(40)), ["cannot be unpacked to its end"]
    ),
    "a name that promises a packing": Broken("d.jsonl.bz2", jsonl(*GOOD), ["is no .bz2 file"]),
    "a packing that no name says": Broken("d.jsonl", content(gzip.compress(lines(*GOOD))), ["is packed as .gz files"]),
    "another packing": Broken("d.csv.zst", content(bz2.compress(CSV.encode())), ["is packed as .bz2 files are"]),
    "a bomb": Broken("d.jsonl.gz", packed_bomb, ["unpacks to more than 64 MiB"]),
    "lines in a packed file": Broken(
        "d.jsonl.bz2", content(bz2.compress(lines(*GOOD, WITHOUT, b"{"))), ["line 3: " + MISSING, "line 4: " + NOT_JSON]
    ),
    "a packed Parquet file that is none": Broken("d.parquet.gz", content(gzip.compress(b"hello")), ["but text"]),
    # Descriptions.
    "files that are not there": Broken(
        "d.yaml",
        described({"files": ["a.jsonl", "b.jsonl", "*.csv"]}, a_jsonl=lines(*GOOD, WITHOUT)),
        ["a.jsonl, line 3: " + MISSING, "b.jsonl does not exist", r'nothing matches "\*.csv"'],
    ),
    "rows of several files": Broken(
        "d.yaml",
        described(
            {"files": ["*.jsonl", "c.csv"]},
            a_jsonl=lines(*GOOD, WITHOUT), b_jsonl=lines(WITHOUT), c_csv=b"prompt,split\nx,train\n",
        ),
        [r"a.jsonl, line 3: .*so too .*b.jsonl: line 1; .*c.csv: line 2\)"],
    ),
    "a record in both parts of two files": Broken(
        "d.yaml",
        described({"files": ["*.jsonl"]}, a_jsonl=lines(*GOOD), b_jsonl=lines(TRAIN | {"split": "heldout"})),
        ["a.jsonl, line 1 and .*b.jsonl, line 1: the same record is in both parts"],
    ),
    "an unknown key": Broken("d.yaml", described("file: a"), ["file: unknown key, did you mean 'files'"]),
    "no data": Broken("d.yaml", described("fields: {a: b}"), ["name files or sql: it describes no data"]),
    "no YAML": Broken("d.yaml", described("files: ["), ["d.yaml: cannot be read"]),
    "a column that no file has": Broken(
        "d.yaml",
        described({"files": ["a.jsonl"], "fields": {"person": "patiant"}}, a_jsonl=lines(TRAIN | {"patient": 3})),
        ['fields.person names the column "patiant", which no record has, did you mean "patient"'],
    ),
    "a file twice": Broken(
        "d.yaml", described({"files": ["a.jsonl", "*.jsonl"]}, a_jsonl=lines(*GOOD)), ["a.jsonl is named twice"]
    ),
    "a constant that records have": Broken(
        "d.yaml",
        described({"files": ["a.jsonl"], "constants": {"split": "train"}}, a_jsonl=lines(*GOOD)),
        [r'line 1: the field "split" is in the record and among the constants.*so too line 2'],
    ),
    "a field of JSON that is none": Broken(
        "d.yaml",
        described({"files": ["a.jsonl"], "json_fields": ["more"]}, a_jsonl=lines(*GOOD, TRAIN | {"more": "[1"})),
        ['line 3: the field "more" is to hold JSON, and is not JSON'],
    ),
    "a description in a description": Broken(
        "d.yaml", described({"files": ["a.yaml"]}, a_yaml=b"files: [b]"), ["is a description itself"]
    ),
    "a delimiter for JSON": Broken(
        "d.yaml",
        described({"files": [{"path": "a.jsonl", "delimiter": ";"}]}, a_jsonl=lines(*GOOD)),
        ["a delimiter is given, and only tables in text have one"],
    ),
    # Databases.
    "rows of a database": Broken(
        "d.yaml",
        database("SELECT * FROM notes", [("p", "r", "train"), (None, "r", "train"), (b"x", "r", "test")]),
        ["sql, row 2: " + BLANK, 'sql, row 3: the field "prompt" is bytes'],
    ),
    "a query that writes": Broken("d.yaml", database("DELETE FROM notes"), ["is not one SELECT"]),
    "a query that writes on the way": Broken(
        "d.yaml", database("WITH x AS (DELETE FROM notes RETURNING *) SELECT * FROM x"), ["has the word DELETE"]
    ),
    "two queries": Broken("d.yaml", database("SELECT 1; SELECT 2"), ["is not one SELECT"]),
    "a table that there is not": Broken("d.yaml", database("SELECT * FROM nots"), ["no such table: nots"]),
    "two columns of a query": Broken("d.yaml", database("SELECT prompt, prompt FROM notes"), ['are called "prompt"']),
    "a database that is not there": Broken(
        "d.yaml", described({"sql": {"url": "sqlite:///none.db", "query": "SELECT 1"}}), ["none.db is no file"]
    ),
    "a driver that is not there": Broken(
        "d.yaml", described({"sql": {"url": "postgresql+none://host/db", "query": "SELECT 1"}}), ["cannot be read"]
    ),
    "no URL": Broken("d.yaml", described({"sql": {"url": "clinic", "query": "SELECT 1"}}), ["URL of the database"]),
    "a password in the URL": Broken(
        "d.yaml", described({"sql": {"url": "sqlite://u:hush@/own.db", "query": "SELECT 1"}}), ["it has a password"]
    ),
    "a variable that is not set": Broken(
        "d.yaml", described({"sql": {"url_env": "NO_SUCH", "query": "SELECT 1"}}), ["NO_SUCH is not set"]
    ),
    "no database": Broken("d.yaml", described({"sql": {"query": "SELECT 1"}}), ["name the database in url or in"]),
}  # fmt: skip
