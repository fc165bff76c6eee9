"""What a file of JSON Lines gives to whichever layout its records have."""

from __future__ import annotations

import os

import pytest

from sealora_client.data.formats.choice import file_kind
from sealora_client.data.formats.json_lines import JsonLines
from sealora_common.errors import DataError


def test_objects_come_in_order_with_the_places_that_sentences_name(tmp_path):
    path = tmp_path / "site.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \n{"b": [2]}')
    assert [(row.line, row.place, row.fields) for row in file_kind(path).rows(path)] == [
        (1, f"{path}, line 1", {"a": 1}),
        (4, f"{path}, line 4", {"b": [2]}),
    ]


def test_rows_before_a_broken_line_are_read_before_it_is_refused(tmp_path):
    path = tmp_path / "site.jsonl"
    path.write_text('{"a": 1}\n[1]\n')
    rows = JsonLines().rows(path)
    assert next(rows).fields == {"a": 1}
    with pytest.raises(DataError, match=r"line 2: not a JSON object"):
        next(rows)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is no file"):
        next(JsonLines().rows(tmp_path / "pipe"))
