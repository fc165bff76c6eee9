from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.errors import RecipeError, SealoraError, UnreadableError
from sealora_common.show.safe_text import safe_json, safe_text

CHOSEN = "a\x1b[\n\r\t\x9b\x07\u202e\u2066\u200b\u0301\ufeff\u3164\ud800"
ANY = st.text(st.characters(), max_size=80) | st.text(CHOSEN, max_size=80)
UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

ATTACKS = {
    "a colour": ("\x1b[31mred", " [31mred"),
    "a title": ("\x1b]0;owned\x07", " ]0;owned "),
    "a C1 sequence": ("\x9b2J", " 2J"),
    "a second line": ("done\n2026-01-01 ERROR forged", "done 2026-01-01 ERROR forged"),
    "a line written over": ("refused\rallowed", "refused allowed"),
    "Unicode's line ends": ("a\u2028b\u2029c\x85d\x0be", "a b c d e"),
    "a bidi override": ("\u202egpj.exe", " gpj.exe"),
    "a bidi isolate": ("\u2066a\u2069", " a "),
    "zero width": ("pay\u200bpal\u2060\ufeff", "pay pal  "),
    "inkless letters": ("a\u3164b\u115fc\u2800d", "a b c d"),
    "variation selectors": ("a\ufe0fb\U000e0100c", "a b c"),
    "tags": ("\U000e0041", " "),
    "half a surrogate pair": ("\ud83d", " "),
    "a private character": ("\ue000", " "),
    "a pile of marks": ("a" + "\u0301" * 9, "a" + "\u0301" * 4 + " " * 5),
    "a NUL": ("a\x00b", "a b"),
}


@pytest.mark.parametrize("case", ATTACKS)
def test_an_attack_is_taken_out(case):
    text, shown = ATTACKS[case]
    assert safe_text(text) == shown


@pytest.mark.parametrize(
    "text", ["", "a sentence: with 'quotes', 3.5 %", "Zürich, Λάρισα, 東京都", "עברית, العربية, नमस्ते", "é" + "e\u0301"]
)
def test_what_people_write_is_left_as_it_is(text):
    assert safe_text(text) == text


@given(ANY, st.integers(0, 100), st.booleans())
def test_the_result_is_safe_and_short_and_making_it_safe_again_changes_nothing(text, longest, lines):
    shown = safe_text(text, longest, lines=lines)
    assert len(shown) <= longest
    assert not {unicodedata.category(mark) for mark in shown.replace("\n", "")} & UNSAFE_CATEGORIES
    assert lines or "\n" not in shown
    assert safe_text(shown, longest, lines=lines) == shown


@given(ANY)
def test_json_loses_nothing_and_is_one_safe_line(text):
    dumped = safe_json(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(dumped) == {"a": text}
    assert safe_text(dumped, 10**6).replace("\u0301", "") == dumped.replace("\u0301", "") or "\u0301" * 5 in dumped
    assert dumped.isprintable()


def test_what_is_cut_says_so():
    assert safe_text("a" * 10, 5) == "aa..."
    assert safe_text("a" * 5, 5) == "aaaaa"


@given(ANY)
def test_an_error_s_sentence_is_safe_wherever_it_is_told(text):
    errors = [SealoraError(text), RecipeError(f"{text}: {text}")]
    for error in [*errors, UnreadableError(text, field=text), UnreadableError(text, line=3)]:
        assert str(error) == safe_text(str(error))
        assert f"{error}" == str(error)
    assert str(SealoraError("a" * 10**6)).endswith("...")
