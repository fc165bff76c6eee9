"""Tables in text: what stands between columns, what a cell is, and which line a record has."""

from __future__ import annotations

import pytest

from sealora_client.data.formats.choice import file_kind
from sealora_client.data.formats.csv_table import CsvTable
from sealora_common.errors import DataError


def rows(path, text, delimiter=None):
    path.write_text(text, newline="")
    return list(file_kind(path, delimiter).rows(path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "a,b\n1,2;3\n"),
        ("a.csv", "a;b\n1;2;3\n".replace("2;3", '"2;3"')),
        ("a.csv", "a\tb\n1\t2;3\n"),
        ("a.csv", '"a;x";"b"\n1;"2;3"\n'),
        ("a.tsv", "a\tb\n1\t2;3\n"),
        ("a.csv", "sep=;\r\na;b\r\n1;2;3\r\n".replace("2;3", '"2;3"')),
        ("a.csv", "\n\na,b\r\n\r\n1,2;3\r\n\r\n"),
    ],
)
def test_the_delimiter_is_found_in_the_header(tmp_path, name, text):
    (row,) = rows(tmp_path / name, text)
    assert list(row.fields.values()) == ["1", "2;3"]


def test_a_delimiter_that_is_given_is_not_doubted(tmp_path):
    (row,) = rows(tmp_path / "a.csv", "a,b:c\n1,2:3\n", ":")
    assert row.fields == {"a,b": "1,2", "c": "3"}


def test_every_value_is_a_text_and_an_empty_one_is_null(tmp_path):
    (row,) = rows(tmp_path / "a.csv", 'who,n,none,blank\n007,1.50,"", \n')
    assert row.fields == {"who": "007", "n": "1.50", "none": None, "blank": " "}


def test_a_record_has_the_line_it_begins_in(tmp_path):
    found = rows(tmp_path / "a.csv", 'a,b\n"x\n\ny",1\n\nz,2\n')
    assert [(row.line, row.fields["a"]) for row in found] == [(2, "x\n\ny"), (6, "z")]


def test_the_index_that_a_data_frame_is_written_with_is_left_out(tmp_path):
    (row,) = rows(tmp_path / "a.csv", ",a\n0,x\n")
    assert row.fields == {"a": "x"}


def test_a_line_that_is_too_long_spoils_itself_alone(tmp_path):
    path, told = tmp_path / "a.csv", []
    path.write_text("a,b\n1," + "x" * 17 * 2**20 + "\n3,4\n")
    assert [row.fields for row in CsvTable().rows(path, told.append)] == [{"a": "3", "b": "4"}]
    assert [error.line for error in told] == [2]


def test_lines_that_end_in_carriage_returns_are_told_as_such(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\r1,2\r3,4\r", newline="")
    with pytest.raises(
        DataError, match=r"a\.csv: its header cannot be read, a carriage return ends no line: end lines by"
    ):
        list(CsvTable().rows(path))
