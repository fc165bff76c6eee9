from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from sealora_client.data.record import Record
from sealora_client.data.records import read_records
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

SECTION = DataSection()
TRAIN = {"prompt": "p", "response": "r", "split": "train"}
HELDOUT = {"prompt": "q", "response": "r", "split": "heldout"}


@pytest.fixture
def write(tmp_path):
    def make(*lines: dict | str | bytes) -> Path:
        path = tmp_path / "site.jsonl"
        encoded = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in encoded))
        return path

    return make


def numbered(count: int) -> list[dict]:
    return [{"prompt": f"prompt {number}", "response": "r"} for number in range(count)]


def test_records_come_in_the_order_of_the_file_and_blank_lines_are_skipped(write):
    path = write(TRAIN | {"prompt": "one"}, "", HELDOUT | {"response": "ü"}, "   ", TRAIN | {"prompt": "two"}, "")
    split = read_records(path, SECTION)
    assert split.train == [Record("one", "r"), Record("two", "r")]
    assert split.heldout == [Record("q", "ü")]


def test_fields_have_the_names_the_recipe_gives(write):
    section = DataSection(prompt_field="question", response_field="answer", split_field="part")
    lines = [{"question": f"of {part}", "answer": "a", "part": part, "more": 1} for part in ("train", "heldout")]
    assert read_records(write(*lines), section).train == [Record("of train", "a")]


def test_a_byte_order_mark_is_no_part_of_the_first_record(write):
    split = read_records(write(b"\xef\xbb\xbf" + json.dumps(TRAIN).encode(), HELDOUT), SECTION)
    assert len(split.train) == 1


def test_about_the_asked_fraction_is_held_out(write):
    split = read_records(write(*numbered(2000)), DataSection(heldout_fraction=0.2))
    assert 0.17 < len(split.heldout) / 2000 < 0.23


def test_the_split_by_content_depends_neither_on_order_nor_on_other_records(write):
    lines = numbered(300)
    before = read_records(write(*lines), SECTION)
    random.Random(0).shuffle(lines)
    after = read_records(write(*lines, {"prompt": "more", "response": "r"}), SECTION)
    assert set(before.heldout) <= set(after.heldout)
    assert set(before.train) <= set(after.train)


def test_equal_records_fall_into_the_same_part(write):
    split = read_records(write(*numbered(100), *numbered(100)), SECTION)
    assert not set(split.train) & set(split.heldout)


def test_a_record_in_both_parts_is_refused(write):
    path = write(TRAIN, HELDOUT, TRAIN | {"split": "heldout"})
    with pytest.raises(
        DataError, match=r'lines 1 and 3: the same record is in both parts, there as "train" and here as "heldout"'
    ):
        read_records(path, SECTION)


# Persons.

BY_PERSON = DataSection(person_field="patient", heldout_fraction=0.2)


def patients(count: int, records: int = 4) -> list[dict]:
    return [
        {"prompt": f"prompt {patient} {number}", "response": "r", "patient": f"p{patient}"}
        for number in range(records)
        for patient in range(count)
    ]


def test_all_records_of_a_person_fall_into_one_part(write):
    split = read_records(write(*patients(300)), BY_PERSON)
    train, heldout = ({record.person for record in part} for part in (split.train, split.heldout))
    assert not train & heldout
    assert len(split.train) == 4 * len(train)
    assert 0.1 < len(heldout) / 300 < 0.3


def test_a_person_stays_in_their_part_whatever_records_come_or_go(write):
    """Also against a split by content, which would scatter their records."""
    before = read_records(write(*patients(100)), BY_PERSON)
    after = read_records(write(*patients(130, 7)[50:]), BY_PERSON)
    stays = {record.person for record in before.heldout}
    known = {f"p{patient}" for patient in range(100)}
    assert {record.person for record in after.heldout} & known == stays
    assert {record.person for record in before.train} == known - stays


def test_a_person_may_be_a_whole_number_and_is_read_as_text(write):
    path = write(TRAIN | {"patient": 7}, HELDOUT | {"patient": "8"})
    split = read_records(path, BY_PERSON)
    assert (split.train[0].person, split.heldout[0].person) == ("7", "8")
    assert read_records(path, SECTION).train[0].person is None


@pytest.mark.parametrize(
    ("person", "why"),
    [
        (None, "it is blank"),
        ("", "it is blank"),
        (True, "it is a truth value"),
        (7.0, "it is a number with a decimal point"),  # what a table with gaps makes of the number 7
        (1.5, "it is a number with a decimal point"),
        (["p"], "it is a list"),
        ({"id": 3}, "it is an object"),
    ],
)
def test_a_record_without_a_person_is_refused_by_its_line_and_why(write, person, why):
    path = write(TRAIN | {"patient": "a"}, HELDOUT | {"patient": person})
    said = rf'line 2: the field "patient" names no person, as {why}: give it .* data\.person_field'
    with pytest.raises(DataError, match=said):
        read_records(path, BY_PERSON)
    with pytest.raises(DataError, match=r'line 1: the field "patient" names no person, as it is missing: give it'):
        read_records(write(TRAIN), BY_PERSON)


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(DataError, match=rf"^{path} is no file, but a directory, pipe or device: name a file"):
            read_records(path, SECTION)


def test_a_link_to_a_file_is_followed(write, tmp_path):
    (tmp_path / "link.jsonl").symlink_to(write(TRAIN, HELDOUT))
    assert read_records(tmp_path / "link.jsonl", SECTION).train == [Record("p", "r")]


@pytest.mark.parametrize("number", [7, "7"])
def test_a_split_field_that_divides_a_person_is_refused(write, number):
    path = write(TRAIN | {"patient": "7"}, HELDOUT | {"patient": "8"}, HELDOUT | {"prompt": "x", "patient": number})
    with pytest.raises(
        DataError,
        match=r'lines 1 and 3: one person is in both parts, there as "train" and here as "heldout": give all their',
    ):
        read_records(path, BY_PERSON)


def test_twins_are_found_across_both_parts_with_their_lines(write):
    path = write(TRAIN | {"patient": "Ada"}, "", TRAIN | {"patient": "Bob"}, HELDOUT | {"patient": "ADA"})
    with pytest.raises(DataError, match=rf"^{path}, lines 1 and 4: the identifiers in the field "):
        read_records(path, BY_PERSON)


def test_folded_persons_stay_in_one_part_however_they_are_spelled(write):
    folding = BY_PERSON.model_copy(update={"fold_persons": True})
    spelled = [line | {"patient": f" {line['patient'].upper()}"} for line in patients(100)]
    path = write(*patients(100), *[line | {"prompt": f"again {line['prompt']}"} for line in spelled])
    split = read_records(path, folding)
    train, heldout = ({record.person for record in part} for part in (split.train, split.heldout))
    assert train | heldout == {f"p{patient}" for patient in range(100)}
    assert not train & heldout
    assert train == {record.person for record in read_records(write(*patients(100)), BY_PERSON).train}
    path = write(TRAIN | {"patient": "Ada"}, HELDOUT | {"patient": "ada"})
    with pytest.raises(DataError, match="lines 1 and 2: one person is in both parts"):
        read_records(path, folding)


def test_a_record_knows_its_line_and_is_equal_wherever_it_stands(write):
    split = read_records(write("", TRAIN, HELDOUT, TRAIN), SECTION)
    assert [record.line for record in split.train] == [2, 4]
    assert split.train[0] == split.train[1]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{oops", r"not JSON \(.*\): write one JSON object a line"),
        ("[" * 100_000, r"objects in each other more than 32 deep: write one JSON object a line"),
        ('{"prompt": NaN}', r"NaN, which JSON does not have: write one JSON object a line"),
        ('{"prompt": "a", "prompt": "b"}', r"the key 'prompt' twice in one object: write one JSON object a line"),
        (f'{{"prompt": {"9" * 5000}}}', r"a number of more than 100 digits: write one JSON object a line"),
        ("[1, 2]", r"not a JSON object: write one object of fields a line"),
        ('{"response": "r"}', r'the field "prompt" is missing: add it, or name .* data\.prompt_field'),
        ('{"prompt": "p"}', r'the field "response" is missing: add it, or name .* data\.response_field'),
        ('{"prompt": 3, "response": "r"}', r'the field "prompt" is not a non-empty string'),
        ('{"prompt": "p", "response": " \\n"}', r'the field "response" is not a non-empty string'),
        ('{"prompt": "p", "response": null}', r'the field "response" is not a non-empty string'),
        ('{"prompt": "\\ud83d", "response": "r"}', r'the field "prompt" holds half of a surrogate pair'),
        ('{"prompt": "p", "response": "r", "split": "test"}', r'"split" is "test": write "train" or "heldout"'),
        ('{"prompt": "p", "response": "r", "split": 1}', r'"split" is 1: write "train" or "heldout"'),
        ('{"prompt": "p", "response": "r", "split": ["train"]}', r'"split" is \["train"\]: write'),
        (b"\xff\xfe", r"not UTF-8 text: save the file in UTF-8"),
    ],
)
def test_a_bad_line_is_named_with_a_remedy(write, line, sentence):
    path = write(TRAIN, "", line, HELDOUT)
    with pytest.raises(DataError, match=sentence) as raised:
        read_records(path, SECTION)
    assert str(raised.value).startswith(f"{path}, line 3: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], r"has no records: write one JSON object a line"),
        (["", " "], r"has no records"),
        ([HELDOUT], r"has no training records, only held-out ones"),
        ([TRAIN], r"has no held-out records to measure with: .*raise data\.heldout_fraction"),
    ],
)
def test_a_data_set_without_both_parts_is_refused(write, lines, sentence):
    with pytest.raises(DataError, match=sentence):
        read_records(write(*lines), SECTION)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl does not exist: check the path"):
        read_records(tmp_path / "nowhere.jsonl", SECTION)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="ignore")))
def test_any_bytes_at_all_are_read_or_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_records(path, SECTION)


@pytest.mark.parametrize("column", ["patient", "split"])
def test_whose_a_record_is_and_where_it_belongs_is_never_read_off_what_cannot_be_read(tmp_path, column):
    """Such a field is not there for JSON, and a record without a part would be given one."""
    rows = [{"prompt": p, "response": "r", "patient": p.encode(), "split": p.encode()} for p in ("p", "q")]
    other = ({"patient", "split"} - {column}).pop()
    table = pa.Table.from_pylist([{name: value for name, value in row.items() if name != other} for row in rows])
    parquet.write_table(table, tmp_path / "site.parquet")
    with pytest.raises(DataError, match=rf'row 1: the field "{column}" is bytes, which is no text: .*so too row 2'):
        read_records(tmp_path / "site.parquet", BY_PERSON if column == "patient" else SECTION)
