"""Identifiers of persons: which are one person, which are refused, and which are two."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data.persons import Persons, fold
from sealora_client.data.source.places import Places
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

FILE = "site.jsonl"
TWINS = [
    ("Ada", "ada"),
    ("Straße", "STRASSE"),
    ("Ada Lovelace", "Ada  Lovelace"),
    ("Ada Lovelace", "Ada\u00a0Lovelace"),
    ("Ada Lovelace", "Ada\u2009Lovelace"),
    ("Ada Lovelace", "Ada\u1680Lovelace"),
    ("Ada Lovelace", "Ada\u2800Lovelace"),
    ("Ada Lovelace", "Ada\tLovelace"),
    ("AdaL", "Ada\u200bL"),
    ("AdaL", "Ada\u200dL"),
    ("AdaL", "Ada\u00adL"),
    ("AdaL", "Ada\u2060L"),
    ("AdaL", "Ada\u034fL"),
    ("AdaL", "Ada\ufe0fL"),
    ("AdaL", "Ada\u0000L"),
    ("Zoë", "Zoe\u0308"),
    ("Zoë", "ZOE\u0308"),
    ("Ofira", "O\ufb01ra"),
    ("7", "\uff17"),
    ("A7", "\uff21\uff17"),
    ("ᾳ", "α\u0345"),
    ("Zoë", "Zoe\u200d\u0308"),  # alike only once what cannot be seen is gone
]


def persons(*values: object, folds: bool = False) -> list[str]:
    known = Persons(Places(FILE), DataSection(person_field="patient", fold_persons=folds))
    return [known.of(line, {"patient": value}) for line, value in enumerate(values, start=1)]


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_twins_are_refused_with_both_lines_and_what_to_do(one, other):
    with pytest.raises(DataError) as caught:
        persons("else", one, 12, other)
    said = str(caught.value)
    assert said.startswith('site.jsonl, lines 2 and 4: the identifiers in the field "patient" differ in nothing but')
    assert "data.fold_persons: true" in said
    assert "\n" not in said
    assert one not in said.removeprefix("site.jsonl, lines 2 and 4")  # whose they are is nobody's business


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_twins_are_one_person_if_the_recipe_folds(one, other):
    first, second = persons(one, other, folds=True)
    assert first == second == fold(one)


def test_what_is_written_alike_is_one_person_and_a_number_is_its_decimal_string():
    assert persons("Ada", "Ada", 7, "7", -3, "-3") == ["Ada", "Ada", "7", "7", "-3", "-3"]
    assert persons(7, "7", folds=True) == ["7", "7"]


@pytest.mark.parametrize("others", [("7", "007"), ("A7", "A 7"), ("Ada", "Bob"), ("Ada", "Аda"), ("ı", "i")])
def test_what_a_reader_tells_apart_or_cannot_is_two_persons(others):
    assert persons(*others) == list(others)
    assert len(set(persons(*others, folds=True))) == 2


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0", "\u200b", "\ufeff \u2800", "\u00ad\u2060", "\u3164"])
@pytest.mark.parametrize("folds", [False, True])
def test_a_blank_identifier_names_nobody(blank, folds):
    with pytest.raises(
        DataError, match=r'site\.jsonl, line 2: the field "patient" names no person, as it is blank: give it'
    ):
        persons("Ada", blank, folds=folds)


@pytest.mark.parametrize("padded", [" Ada", "Ada ", "Ada\n", "\u00a0Ada", "\u200bAda", "Ada\ufeff", "Ada\u2800"])
def test_one_with_white_space_around_it_is_refused_alone_and_folded_if_the_recipe_says_so(padded):
    with pytest.raises(DataError, match=r'site\.jsonl, line 1: the identifier in the field "patient" begins or ends'):
        persons(padded)
    assert persons(padded, "Ada", folds=True) == ["ada", "ada"]


@given(st.text(max_size=12))
def test_folding_again_changes_nothing(text):
    assert fold(fold(text)) == fold(text)


@given(st.text(min_size=1, max_size=12), st.sampled_from([str.upper, str.lower, str.casefold, str.swapcase]))
def test_no_change_of_form_or_white_space_makes_another_person(text, cased):
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, text)) == fold(text)
    assert fold(f"\u2003\u200b{text}\ufeff\n") == fold(text)
    if cased(text).casefold() == text.casefold():
        assert fold(cased(text)) == fold(text)


@given(st.lists(st.text(alphabet="aAbB \u200bé\u0301e7", min_size=1, max_size=3), max_size=8))
def test_either_all_are_told_apart_as_written_or_the_file_is_refused(written):
    refused = any(not fold(name) for name in written) or len({fold(name) for name in written}) < len(set(written))
    refused = refused or any(name.strip(" \u200b") != name for name in written)
    if refused:
        with pytest.raises(DataError):
            persons(*written)
    else:
        assert persons(*written) == written
