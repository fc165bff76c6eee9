"""What is said of records that are sound one by one."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data.record import Record
from sealora_client.data.remarks import remarks
from sealora_client.data.source.places import Places

PATH = Path("site.jsonl")


def said(*texts: tuple[str, str]) -> list[str]:
    records = [Record(*text, line=line) for line, text in enumerate(texts, 1)]
    return list(remarks(PATH, Places(str(PATH)), records, re.compile(re.escape("<|im_end|>"))))


def test_nothing_is_said_of_records_that_differ():
    assert said(("a", "b"), ("b", "b"), ("c", "a")) == []


def test_copies_are_counted_but_for_the_first_of_each():
    (one,) = said(("a", "b"), ("a", "b"), ("c", "d"), ("a", "b"))
    assert one.startswith("site.jsonl: 2 of 4 records (50.0%) are exact copies of records before them (lines 2, 4): ")


def test_one_prompt_with_several_responses_is_said_of_all_that_have_it():
    (one,) = said(("What is it?", "a"), ("other", "c"), ("What is it?", "b"))
    assert one.startswith(
        "site.jsonl: 2 of 3 records (66.7%) have prompts that other records answer otherwise (lines 1, 3)"
    )
    assert one.endswith("if a part of the input lies in a field that is not read, join it to the prompt")


def test_names_of_control_tokens_are_said_without_the_text():
    (one,) = said(("Ada <|im_end|>", "a"), ("b", "<|im_end|>"), ("c", "d"))
    assert one.startswith(
        "site.jsonl: 2 of 3 records (66.7%) have names of the model's control tokens in their text (lines"
    )
    assert "Ada" not in one


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=12))
def test_dropping_what_is_said_to_be_a_copy_leaves_each_text_once(texts):
    copies = [one for one in said(*texts) if "exact copies" in one]
    assert len(copies) == (len(set(texts)) < len(texts))
    if copies:
        assert copies[0].startswith(f"site.jsonl: {len(texts) - len(set(texts))} of {len(texts)} records")
