"""A data set's name and members follow from its records alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data.fingerprint import DataSet
from sealora_client.data.record import Record

Records = list[tuple[str, str]]
texts = st.text(max_size=8)
records = st.lists(st.tuples(texts, texts), max_size=8)
triples = st.lists(st.tuples(st.sampled_from(["p1", "p2", "p3"]), texts, texts), max_size=8)


@given(records, st.randoms())
def test_order_does_not_matter(some: Records, source: random.Random) -> None:
    shuffled = some.copy()
    source.shuffle(shuffled)
    assert DataSet.of_records(some) == DataSet.of_records(iter(shuffled))


@given(triples, st.randoms())
def test_order_does_not_matter_by_person(some: list[tuple[str, str, str]], source: random.Random) -> None:
    shuffled = some.copy()
    source.shuffle(shuffled)
    assert DataSet.of_persons(some) == DataSet.of_persons(iter(shuffled))


@given(records, records)
def test_other_records_have_another_fingerprint(one: Records, other: Records) -> None:
    same = DataSet.of_records(one).fingerprint == DataSet.of_records(other).fingerprint
    assert same == (sorted(one) == sorted(other))


@given(triples, triples)
def test_other_persons_or_records_have_another_fingerprint(one, other) -> None:
    same = DataSet.of_persons(one).fingerprint == DataSet.of_persons(other).fingerprint
    assert same == (sorted(one) == sorted(other))


@given(records)
def test_each_record_is_a_member_by_itself(some: Records) -> None:
    dataset = DataSet.of_records(some)
    assert dataset.unit == "record"
    assert len(dataset) == len(some)
    assert len(set(dataset.members)) == len(set(some))
    assert dataset.records == dataset.members


@given(triples)
def test_each_person_is_a_member_once(some: list[tuple[str, str, str]]) -> None:
    dataset = DataSet.of_persons(some)
    assert dataset.unit == "person"
    assert len(dataset) == len({person for person, _, _ in some})
    assert dataset.records == DataSet.of_records((prompt, response) for _, prompt, response in some).members


def test_a_record_more_changes_the_fingerprint_and_no_member() -> None:
    before = DataSet.of_persons([("p1", "a", "b")])
    after = DataSet.of_persons([("p1", "a", "b"), ("p1", "c", "d")])
    assert before.fingerprint != after.fingerprint
    assert before.members == after.members


def test_units_have_fingerprints_of_their_own() -> None:
    assert DataSet.of_persons([("", "a", "b")]).fingerprint != DataSet.of_records([("a", "b")]).fingerprint


def test_text_cannot_move_between_prompt_and_response_or_person() -> None:
    assert DataSet.of_records([("ab", "c")]) != DataSet.of_records([("a", "bc")])
    assert DataSet.of_persons([("ab", "c", "d")]).fingerprint != DataSet.of_persons([("a", "bc", "d")]).fingerprint


def test_a_repeated_record_counts() -> None:
    assert DataSet.of_records([("a", "b")]).fingerprint != DataSet.of_records([("a", "b")] * 2).fingerprint


def test_a_lone_surrogate_is_fingerprinted() -> None:
    assert DataSet.of_records([("\ud800", "")]) != DataSet.of_records([("\ud801", "")])


def test_the_fingerprint_is_stable_across_versions() -> None:
    # Ledgers on disk name data sets by it: if this changes, what is spent is forgotten.
    expected = "301408503a7bc7d55010f71951b722e2a35be79ee369548d7eb032806001f792"
    assert DataSet.of_records([("prompt", "response"), ("é", "日本")]).fingerprint == expected


RECORD = "9eea76008e5bec4ce6d1736d20da91f0828c5f26003cd716d90fe205245ad385"
BY_PERSON = "fda33df6eb102505c0b82ecd7f4dfee4a9d27235ebafe6b740c8a0adac3bd84e"
ADA = "afd9e11e8f616cdb3f46c1cbcc08e4e8683468b66692f66d811d6e7567e021e4"


def test_members_are_stable_across_versions() -> None:
    # Data that grew is recognised by them.
    assert DataSet.of_records([("prompt", "response")]).members[0].hex() == RECORD
    dataset = DataSet.of_persons([("Ada", "prompt", "response")])
    assert (dataset.fingerprint, dataset.members[0].hex(), dataset.records[0].hex()) == (BY_PERSON, ADA, RECORD)


def test_a_site_s_records_are_persons_if_they_say_whose_they_are() -> None:
    assert DataSet.of([Record("a", "b"), Record("c", "d")]) == DataSet.of_records([("a", "b"), ("c", "d")])
    by_person = [Record("a", "b", "p1"), Record("c", "d", "p1")]
    assert DataSet.of(by_person) == DataSet.of_persons([("p1", "a", "b"), ("p1", "c", "d")])
    with pytest.raises(ValueError, match="a person for each record, or for none"):
        DataSet.of([*by_person, Record("e", "f")])


def test_a_data_set_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="digests of 32 bytes"):
        DataSet("name", "record", (b"short",), (b"short",))
    with pytest.raises(ValueError, match="a member by itself"):
        DataSet("name", "record", (bytes(32),), ())


def test_members_are_not_shown() -> None:
    assert "members" not in repr(DataSet.of_records([("a", "b")]))
