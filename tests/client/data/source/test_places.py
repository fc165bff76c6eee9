"""Rows are told by file and line, whatever number they have in the whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data.source.places import Places


def test_only_the_first_lines_are_named():
    places = Places("site.jsonl")
    assert places.listed([4]) == "line 4"
    assert places.listed(range(9, 0, -1)) == "lines 1, 2, 3, 4, 5 and 4 more"


def test_rows_of_several_files_are_named_by_file():
    places = Places("all.yaml")
    places.begin("a.jsonl", "line", 0)
    places.begin("b.parquet", "row", 3)
    places.begin("empty.csv", "line", 10)
    places.begin("c.json", "object", 10)
    assert places.of(2) == "a.jsonl, line 2"
    assert places.of(3, 4) == "a.jsonl, line 3 and b.parquet, row 1"
    assert places.of(5, 4) == "b.parquet, rows 1 and 2"
    assert places.listed([11, 12, 1, 10]) == "a.jsonl: line 1; b.parquet: row 7; c.json: objects 1, 2"
    assert places.first_listed([1, 2], 9) == "a.jsonl: lines 1, 2 and 7 more"


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_every_row_has_the_place_it_was_given(sizes):
    places, before = Places("all.yaml"), 0
    for number, size in enumerate(sizes):
        places.begin(f"{number}.csv", "line", before)
        before += size
    told = [places.of(number) for number in range(1, before + 1)]
    assert told == [f"{n}.csv, line {own}" for n, size in enumerate(sizes) for own in range(1, size + 1)]
