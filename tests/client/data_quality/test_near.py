from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_client.data_quality.missing import MissingLibraryError
from sealora_client.data_quality.near import near_groups

NOTE = (
    "The patient was admitted with chest pain and shortness of breath since yesterday evening. No allergies are known, "
    "no medication is taken, and the blood pressure was 150 over 95 on arrival."
)


def test_copies_with_other_case_space_or_one_word_are_one_group_and_others_are_not():
    texts = [
        NOTE,
        "Delivery at term without complications, mother and child are well.",
        f"  {NOTE.upper()}\n",
        NOTE.replace("yesterday", "Tuesday"),
        NOTE.replace("No allergies are known, no medication is taken", "Penicillin is not tolerated, aspirin is taken"),
    ]
    assert near_groups(texts) == [0, 1, 0, 0, 4]


def test_the_similarity_decides():
    texts = [NOTE, NOTE.replace("yesterday", "Tuesday")]
    assert near_groups(texts, 0.99) == [0, 1]
    assert near_groups(texts, 0.7) == [0, 0]


def test_what_is_alike_to_something_in_a_group_is_in_it():
    words = NOTE.split()
    chain = [" ".join(words + [f"w{place}" for place in range(step)]) for step in range(0, 30, 2)]
    groups = near_groups(chain)
    assert set(groups) == {0}
    assert near_groups([chain[0], chain[-1]]) == [0, 1]


@pytest.mark.parametrize("text", ["", "a", "äöü", "\ud800", "😀" * 3])
def test_texts_shorter_than_a_shingle_are_alike_to_themselves_alone(text):
    assert near_groups([text, "entirely something else", text, "b"]) == [0, 1, 0, 3]


@settings(max_examples=40)
@given(st.lists(st.text(max_size=40), max_size=12), st.randoms())
def test_groups_are_those_of_equal_texts_at_least_and_follow_a_permutation(texts, shuffler):
    groups = near_groups(texts)
    assert all(group <= place and groups[group] == group for place, group in enumerate(groups))
    for place, text in enumerate(texts):
        assert groups[texts.index(text)] == groups[place]
    order = list(range(len(texts)))
    shuffler.shuffle(order)
    moved = near_groups([texts[place] for place in order])
    together = {
        (order[one], order[other]) for one in range(len(order)) for other in range(one) if moved[one] == moved[other]
    }
    assert {frozenset(pair) for pair in together} == {
        frozenset((one, other)) for one in range(len(order)) for other in range(one) if groups[one] == groups[other]
    }


def test_none_is_called_alike_that_is_not_and_few_are_missed():
    generator = random.Random(5)
    words = [f"word{number}" for number in range(400)]
    originals = [" ".join(generator.choices(words, k=60)) for _ in range(60)]
    edited = [" ".join(word if place != 30 else "changed" for place, word in enumerate(o.split())) for o in originals]
    groups = near_groups([*originals, *edited])
    assert groups[:60] == list(range(60))
    assert all(group in (place, place - 60) for place, group in enumerate(groups) if place >= 60)
    assert sum(group == place - 60 for place, group in enumerate(groups) if place >= 60) >= 58


def test_what_is_a_little_less_alike_is_found_and_sorted_out():
    generator = random.Random(6)
    words = [f"word{number}" for number in range(400)]
    originals = [" ".join(generator.choices(words, k=60)) for _ in range(40)]
    edited = [" ".join("changed" if at % 12 == 5 else word for at, word in enumerate(o.split())) for o in originals]
    assert near_groups([*originals, *edited]) == list(range(80))
    assert near_groups([*originals, *edited], 0.7)[40:] == list(range(40))


def test_without_the_library_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    said = (
        r"^finding near-duplicates needs the package datasketch, which is not installed: run pip install 'sealora\[data"
    )
    with pytest.raises(MissingLibraryError, match=said):
        near_groups(["a"])
