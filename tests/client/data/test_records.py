from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealora_client.data.records import Record, read_records
from sealora_common.errors import DataError
from sealora_common.recipe.schema import DataSection

SECTION = DataSection()
TRAIN = {"prompt": "p", "response": "r", "split": "train"}
HELDOUT = TRAIN | {"split": "heldout"}


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
    assert split.heldout == [Record("p", "ü")]


def test_fields_have_the_names_the_recipe_gives(write):
    section = DataSection(prompt_field="question", response_field="answer", split_field="part")
    lines = [{"question": "q", "answer": "a", "part": part, "more": 1} for part in ("train", "heldout")]
    assert read_records(write(*lines), section).train == [Record("q", "a")]


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


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{oops", r"not JSON \(.*\): write one JSON object a line"),
        ("[" * 100_000, r"not JSON \(.*\): write one JSON object a line"),
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


def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\): check the path"):
        read_records(tmp_path, SECTION)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="ignore")))
def test_any_bytes_at_all_are_read_or_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_records(path, SECTION)
