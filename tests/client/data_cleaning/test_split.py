from __future__ import annotations

import random
import sys
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from untidy_data import UNTIDY, clean_rows, write_rows

from sealora_client.data.fingerprint import DataSet
from sealora_client.data.records import read_records
from sealora_client.data_cleaning.copies import Doings
from sealora_client.data_cleaning.split import Stratum, split_copy
from sealora_client.data_quality.missing import MissingLibraryError
from sealora_client.data_quality.near import near_groups
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

SECTION = DataSection()
PERSONS = DataSection(person_field="patient")
WORDS = [f"word{number}" for number in range(300)]


@pytest.fixture
def split(tmp_path):
    """`split(rows, section=..., fraction=..., stratify=...)`: the copy, what was done, the strata."""

    def done(
        rows, section: DataSection = SECTION, fraction: float = 0.2, stratify: str | None = None
    ) -> tuple[list[dict[str, Any]], Doings, list[Stratum]]:
        path = write_rows(tmp_path / "n.jsonl", rows)
        copy, doings, strata = split_copy(path, section, fraction, 0.85, stratify)
        assert [row | {"split": None} for row in copy] == [row | {"split": None} for row in rows]
        return copy, doings, strata

    return done


def notes(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Notes of which none is like another."""
    draw = random.Random(seed)
    return [{"prompt": " ".join(draw.choices(WORDS, k=20)), "response": f"answer {n}"} for n in range(count)]


def parts(rows: list[dict[str, Any]], field: str) -> dict[object, set[str]]:
    found = defaultdict(set)
    for row in rows:
        found[row[field]].add(row["split"])
    return found


def test_records_that_are_like_no_other_are_where_they_are_without_a_split(split, tmp_path):
    rows = notes(400)
    copy, doings, strata = split(rows, fraction=0.15)
    heldout = [row["prompt"] for row in copy if row["split"] == "heldout"]
    before = read_records(write_rows(tmp_path / "m.jsonl", rows), DataSection(heldout_fraction=0.15))
    assert heldout == [record.prompt for record in before.heldout]
    assert strata == [Stratum("", 400, len(heldout))]
    assert len(doings.steps["held out"].lines) == len(heldout)


def test_persons_are_where_they_are_without_a_split(split, tmp_path):
    rows = [row | {"patient": f"p{n // 4}"} for n, row in enumerate(notes(400))]
    copy, _, _ = split(rows, PERSONS)
    section = DataSection(person_field="patient", heldout_fraction=0.2)
    before = read_records(write_rows(tmp_path / "m.jsonl", rows), section)
    assert {row["patient"] for row in copy if row["split"] == "heldout"} == {r.person for r in before.heldout}
    assert all(len(each) == 1 for each in parts(copy, "patient").values())


def test_near_duplicates_are_in_one_part_whatever_the_data_said(split, tmp_path):
    rows = [*clean_rows(), *UNTIDY]
    copy, doings, _ = split(rows)
    groups = near_groups([f"{row['prompt']}\n{row['response']}" for row in rows])
    assert len(set(groups)) < len(rows)
    by_group = defaultdict(set)
    for row, group in zip(copy, groups, strict=True):
        by_group[group].add(row["split"])
    assert all(len(each) == 1 for each in by_group.values())
    moved = [place + 1 for place, (row, new) in enumerate(zip(rows, copy, strict=True)) if row["split"] != new["split"]]
    assert doings.steps["moved to another part than the data said"].lines == moved
    read = read_records(write_rows(tmp_path / "copy.jsonl", copy), SECTION)
    assert len(read.train) + len(read.heldout) == len(rows)


def test_what_read_records_refuses_is_what_splitting_mends(split, tmp_path):
    rows = [*notes(30), *({**row, "split": "heldout"} for row in notes(3))]
    rows[0]["split"] = "train"
    with pytest.raises(DataError, match="the same record is in both parts"):
        read_records(write_rows(tmp_path / "m.jsonl", rows), SECTION)
    copy, _, _ = split([row | {"split": row.get("split")} for row in rows])
    read_records(write_rows(tmp_path / "m.jsonl", copy), SECTION)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 4), st.integers(0, 6)), min_size=8, max_size=40, unique=True),
    st.sampled_from([0.1, 0.3, 0.5]),
    st.sampled_from([None, "label"]),
    st.randoms(),
)
def test_no_person_and_no_group_is_ever_in_both_parts(tmp_path, drawn, fraction, stratify, shuffler):
    base = [note["prompt"] for note in notes(12)]
    rows = [
        {"prompt": base[text] + "!" * copy, "response": "r", "patient": f"p{person}", "label": text % 3}
        for text, copy, person in drawn
    ]
    try:
        copy, _, _ = split_copy(write_rows(tmp_path / "n.jsonl", rows), PERSONS, fraction, 0.85, stratify)
    except DataError:  # all is one group, or no group's hash is below the share
        return
    assert all(len(each) == 1 for each in parts(copy, "patient").values())
    by_text = defaultdict(set)
    for row, (text, _, _) in zip(copy, drawn, strict=True):
        by_text[text].add(row["split"])
    assert all(len(each) == 1 for each in by_text.values())
    assert {row["split"] for row in copy} == {"train", "heldout"}
    shuffler.shuffle(rows)
    moved, _, _ = split_copy(write_rows(tmp_path / "n.jsonl", rows), PERSONS, fraction, 0.85, stratify)
    held = {row["prompt"] + row["patient"] for row in copy if row["split"] == "heldout"}
    assert {row["prompt"] + row["patient"] for row in moved if row["split"] == "heldout"} == held


def test_each_label_has_its_share_held_out_and_a_rare_one_at_least_one(split):
    labels = ["common"] * 200 + ["seldom"] * 40 + ["rare"] * 3 + ["single"]
    rows = [row | {"label": label} for row, label in zip(notes(len(labels)), labels, strict=True)]
    copy, _, strata = split(rows, fraction=0.1, stratify="label")
    assert {stratum.value: (stratum.records, stratum.heldout) for stratum in strata} == {
        "common": (200, 20),
        "seldom": (40, 4),
        "rare": (3, 1),
        "single": (1, 0),
    }
    assert copy == split(rows, fraction=0.1, stratify="label")[0]


def test_a_label_that_one_group_has_is_trained_on_whatever_share_is_asked_for(split):
    labels = ["common"] * 20 + ["single"]
    rows = [row | {"label": label} for row, label in zip(notes(21), labels, strict=True)]
    _, _, strata = split(rows, fraction=0.9, stratify="label")
    assert [(stratum.value, stratum.heldout) for stratum in strata] == [("common", 18), ("single", 0)]


def test_strata_and_persons_go_together(split):
    rows = [row | {"patient": f"p{n // 2}", "label": n % 2 == 0} for n, row in enumerate(notes(200))]
    copy, _, strata = split(rows, PERSONS, fraction=0.1, stratify="label")
    assert all(len(each) == 1 for each in parts(copy, "patient").values())
    assert {stratum.value: stratum.heldout for stratum in strata} == {"True": 10, "False": 10}


def test_the_field_has_the_recipe_s_name_and_others_stay(split, tmp_path):
    section = DataSection(split_field="part")
    path = write_rows(tmp_path / "n.jsonl", [row | {"split": "x", "note": None} for row in notes(40)])
    copy, _, _ = split_copy(path, section, 0.3, 0.85)
    assert {row["part"] for row in copy} == {"train", "heldout"}
    assert all(row["split"] == "x" and row["note"] is None for row in copy)


def test_where_no_share_can_be_held_out_one_sentence_says_so(split, tmp_path):
    with pytest.raises(DataError, match=r"the 5 records make 1 groups of which no share of 0\.2 can be held out"):
        split([{"prompt": f"the very same note of one and the same ward{'.' * n}", "response": "r"} for n in range(5)])
    with pytest.raises(DataError, match="has no records: there is nothing to split"):
        split([])


def test_a_record_without_the_field_to_stratify_by_is_named(split):
    rows = [row | {"label": "a"} for row in notes(5)]
    rows[3]["label"] = 1.5
    with pytest.raises(
        DataError, match=r'line 4: the field "label" holds no text, whole number or truth value to make'
    ):
        split(rows, stratify="label")


def test_without_the_library_nothing_is_split(split, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(MissingLibraryError, match="finding near-duplicates needs the package datasketch"):
        split(notes(10))


def test_the_ledger_knows_the_records_of_a_split_copy_again(split, tmp_path):
    section = DataSection(heldout_fraction=0.4)
    rows = [*notes(60), *({**row, "prompt": row["prompt"] + "!"} for row in notes(10))]
    before = read_records(write_rows(tmp_path / "m.jsonl", rows), section)
    copy, _, _ = split(rows, section)
    after = read_records(write_rows(tmp_path / "m.jsonl", copy), section)
    known, again = (sorted((*DataSet.of(part.train).rows, *DataSet.of(part.heldout).rows)) for part in (before, after))
    assert len(known) == 70
    assert again == known
