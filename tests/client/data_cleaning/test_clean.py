from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from untidy_data import UNTIDY, clean_rows, write_rows, write_untidy

from sealora_client.data_cleaning.clean import Steps, cleaned
from sealora_client.data_cleaning.copies import Doings
from sealora_client.data_quality.missing import MissingLibraryError
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

SECTION = DataSection()
NFD = unicodedata.normalize("NFD", "Zoë")
PERSONS = DataSection(person_field="patient")
EVERYTHING = Steps(
    mojibake=True, normalize=True, trim=True, redact=("all",), shortest=8, longest=2000, copies=True, near=0.85
)


@pytest.fixture
def clean(tmp_path):
    """`clean(rows, section=..., **steps)`: the copy's objects, and by each step the lines it was done to."""

    def done(rows, section: DataSection = SECTION, **steps: Any) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
        path = write_rows(tmp_path / "notes.jsonl", rows)
        before = path.read_bytes()
        copy, doings = cleaned(path, section, Steps(**steps))
        assert path.read_bytes() == before
        assert (doings.read, doings.written) == (len(rows), len(copy))
        return copy, {step: doing.lines for step, doing in doings.steps.items()}

    return done


def one(prompt: str, response: str = "yes", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "response": response, **more}


def test_each_step_does_its_own_and_nothing_else(clean):
    decomposed = unicodedata.normalize("NFD", "Übelkeit")
    rows = [one("Ã¼ber"), one(decomposed), one("  trim me\n"), one("mail a.b@klinik.de now"), one("plain")]
    assert clean(rows, mojibake=True) == ([one("über"), *rows[1:]], {"mojibake mended": [1]})
    assert clean(rows, normalize=True)[0] == [rows[0], one("Übelkeit"), *rows[2:]]
    assert clean(rows, trim=True)[0] == [*rows[:2], one("trim me"), *rows[3:]]
    assert clean(rows, redact=("EMAIL_ADDRESS",)) == (
        [*rows[:3], one("mail <EMAIL_ADDRESS> now"), rows[4]],
        {"replaced: EMAIL_ADDRESS": [4]},
    )


def test_only_the_kinds_that_are_asked_for_are_replaced(clean):
    rows = [one("mail a.b@klinik.de on 03.04.2021, call +49 30 1234567 or 212-555-0187", "ssn 536-22-1234")]
    (row,), _ = clean(rows, redact=("PHONE_NUMBER",))
    assert row == one("mail a.b@klinik.de on 03.04.2021, call <PHONE_NUMBER> or <PHONE_NUMBER>", "ssn 536-22-1234")
    (row,), lines = clean(rows, redact=("all",), countries=("us",))
    told = "mail <EMAIL_ADDRESS> on <DATE_TIME>, call <PHONE_NUMBER> or <PHONE_NUMBER>"
    assert row == one(told, "ssn <US_SSN>")
    assert set(lines) == {f"replaced: {kind}" for kind in ("DATE_TIME", "EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN")}


def test_places_are_counted_beside_records(tmp_path):
    path = write_rows(tmp_path / "n.jsonl", [one("+49 30 1234567 or 212-555-0187"), one("+49 30 7654321")])
    _, doings = cleaned(path, SECTION, Steps(redact=("all",)))
    assert (doings.steps["replaced: PHONE_NUMBER"].lines, doings.steps["replaced: PHONE_NUMBER"].places) == ([1, 2], 3)


def test_copies_are_left_out_but_for_the_first(clean):
    rows = [one("a"), one("b"), one("a", split="heldout"), one("A"), one("a")]
    copy, lines = clean(rows, copies=True)
    assert copy == [one("a"), one("b"), one("A")]
    assert lines == {"left out: exact copy": [3, 5]}


def test_near_copies_are_left_out_but_for_the_first(clean):
    copy, lines = clean([*clean_rows(), *UNTIDY], near=0.85, copies=True)
    assert lines == {"left out: exact copy": [51], "left out: nearly the same": [52, 53]}
    assert len(copy) == 59


def test_another_person_s_copy_is_their_own_record(clean):
    rows = [one("no finding", patient=person) for person in ("p1", "p2", "p1", "p2", "p3")]
    copy, lines = clean(rows, PERSONS, copies=True)
    assert [row["patient"] for row in copy] == ["p1", "p2", "p3"]
    assert lines == {"left out: exact copy": [3, 4]}
    near = [row | {"prompt": f"No finding, no complaint{'!' * place}"} for place, row in enumerate(rows)]
    copy, _ = clean(near, PERSONS, near=0.6)
    assert [row["patient"] for row in copy] == ["p1", "p2", "p3"]


def test_copies_that_only_cleaning_makes_equal_are_left_out(clean):
    copy, _ = clean([one("call 212-555-0187"), one("  call 212-555-0199 ")], trim=True, redact=("all",), copies=True)
    assert copy == [one("call <PHONE_NUMBER>")]


def test_length_and_language_filter_records(clean):
    rows = [one("x", "y"), one("x" * 50, "y"), one("The patient has chest pain since yesterday evening.")]
    rows += [one("Der Patient klagt seit gestern über starke Schmerzen."), one("I21.4")]
    assert clean(rows, shortest=3)[1] == {"left out: length": [1]}
    assert clean(rows, longest=50)[1] == {"left out: length": [2, 3, 4]}
    copy, lines = clean(rows, languages=("de",))
    assert lines == {"left out: language": [3]}
    assert len(copy) == 4  # what is unclear stays


def test_what_is_no_record_stops_or_is_left_out_as_asked(clean):
    rows = [one("a"), one(""), {"prompt": "c"}, one("d")]
    said = r'2 problems: .*line 2: the field "prompt" is not .*line 3: the field "response" is missing.*; or leave out'
    with pytest.raises(DataError, match=said):
        clean(rows, trim=True)
    copy, lines = clean(rows, unreadable=True)
    assert copy == [one("a"), one("d")]
    assert lines == {"left out: no record": [2, 3]}


def test_a_line_that_cannot_be_read_is_no_record_either(tmp_path):
    path = tmp_path / "n.jsonl"
    path.write_text('{"prompt": "a", "response": "b"}\n{broken\n{"prompt": "c", "response": "d "}\n')
    with pytest.raises(DataError, match=r"line 2: .*; or leave out what is no record with --drop-unreadable"):
        cleaned(path, SECTION, Steps(trim=True))
    copy, doings = cleaned(path, SECTION, Steps(trim=True, unreadable=True))
    assert copy == [one("a", "b"), one("c", "d")]
    assert (doings.read, doings.steps["left out: no record"].lines) == (3, [2])


def test_a_file_that_is_not_there_is_no_line_to_be_left_out(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        cleaned(tmp_path / "n.jsonl", SECTION, Steps(unreadable=True))


def test_a_table_becomes_json_lines(tmp_path):
    path = tmp_path / "n.csv"
    path.write_text('prompt,response,ward\n" a ",b,7\nc,d,8\n')
    copy, _ = cleaned(path, SECTION, Steps(trim=True))
    assert [row["prompt"] for row in copy] == ["a", "c"]
    assert set(copy[0]) == {"prompt", "response", "ward"}


def test_what_cleaning_leaves_nothing_of_is_no_record(clean):
    with pytest.raises(DataError, match=r'line 1: the field "prompt" is not a non-empty string'):
        clean([one(" \u00a0 "), one("b")], trim=True)


def test_where_nothing_would_be_left_nothing_is_made(clean):
    with pytest.raises(DataError, match="no record would be left"):
        clean([one("a")], shortest=1000)


def test_fields_that_are_not_read_and_persons_stay_as_they_are(clean):
    rows = [one("a ", patient=7, note=" a.b@klinik.de ", split="train", more=[{"content": " x "}, None, 1.5, True])]
    (row,), _ = clean(rows, PERSONS, trim=True, redact=("all",))
    assert row == rows[0] | {"prompt": "a"}
    assert list(row) == list(rows[0])


def test_turns_are_cleaned_and_who_speaks_is_not(clean):
    turns = [{"role": "User ", "content": " a.b@klinik.de "}, {"role": "assistant", "content": "ok ", "weight": 1}]
    sharegpt = [{"from": "human", "value": "hi "}, {"from": "gpt", "value": [{"type": "text", "text": "yes "}]}]
    section = DataSection(layout="messages")
    copy, _ = clean([{"messages": turns}, {"conversations": sharegpt}], section, trim=True, redact=("all",))
    assert copy[0]["messages"] == [
        {"role": "User ", "content": "<EMAIL_ADDRESS>"},
        {"role": "assistant", "content": "ok", "weight": 1},
    ]
    assert copy[1]["conversations"] == [
        {"from": "human", "value": "hi"},
        {"from": "gpt", "value": [{"type": "text", "text": "yes"}]},
    ]


def test_labels_are_left_alone_and_renamed_fields_are_found(clean):
    section = DataSection(layout="labelled", fields={"text": "note", "label": "class"}, labels={"a ": "A", "a": "A"})
    (row,), _ = clean([{"note": " x ", "class": "a ", "text": " other "}], section, trim=True)
    assert row == {"note": "x", "class": "a ", "text": " other "}


def test_with_a_template_over_the_fields_all_of_them_are_cleaned(clean):
    section = DataSection(prompt_template="{{ age }}: {{ note }}", person_field="patient")
    (row,), _ = clean(
        [{"age": " 7", "note": " x ", "response": "y ", "patient": NFD}], section, trim=True, normalize=True
    )
    assert row == {"age": "7", "note": "x", "response": "y", "patient": NFD}


def test_nothing_to_do_and_unknown_kinds_are_refused(clean):
    with pytest.raises(DataError, match=r"^nothing to do: name at least one step, for example --trim"):
        clean([one("a")], countries=("us",))
    with pytest.raises(DataError, match=r"^--redact NAME: there is no such kind of personal data: choose from all"):
        clean([one("a")], redact=("NAME",))


def test_a_language_that_nobody_can_tell_is_refused_before_it_empties_the_copy(clean):
    with pytest.raises(DataError, match=r"^--language english: there is no such language: choose from ace, af, am, "):
        clean([one("a"), one("The patient has chest pain since yesterday evening.")], languages=("de", "english"))


@pytest.mark.parametrize(
    ("library", "steps"),
    [("ftfy", {"mojibake": True}), ("datasketch", {"near": 0.9}), ("presidio_analyzer", {"redact": ("all",)})],
)
def test_a_step_whose_library_is_missing_is_refused(clean, monkeypatch, library, steps):
    from sealora_client.data_quality import personal

    personal._library.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    try:
        with pytest.raises(MissingLibraryError, match="is not installed: run pip install 'sealora"):
            clean([one("a")], **steps)
    finally:
        personal._library.cache_clear()


def test_the_untidy_file_is_tidy_after_it(tmp_path):
    copy, _ = cleaned(write_untidy(tmp_path / "a.jsonl"), SECTION, EVERYTHING)
    written = json.dumps(copy, ensure_ascii=False)
    assert "anna.schmidt" not in written
    assert "Größe" in written
    assert "Ã" not in written
    assert unicodedata.is_normalized("NFC", written)
    with_germany, _ = cleaned(tmp_path / "a.jsonl", SECTION, Steps(redact=("all",), countries=("de",)))
    assert "0171" not in json.dumps(with_germany)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(alphabet=st.sampled_from("aäÄ ü\u0308e\u0301\u00a0\n@.1ﬁ") | st.characters(codec="utf-8"), max_size=25),
        max_size=6,
    )
)
def test_cleaning_what_is_clean_changes_nothing(tmp_path, texts):
    path = tmp_path / "any.jsonl"
    rows = [one(f"seen: {text}", f"{text} noted") for text in texts] + [one("The last of all these records.")]
    steps = Steps(normalize=True, trim=True, redact=("all",), copies=True, near=0.9)
    once, _ = cleaned(write_rows(path, rows), SECTION, steps)
    again, doings = cleaned(write_rows(path, once), SECTION, steps)
    assert again == once
    assert doings == Doings(read=len(once), written=len(once))
