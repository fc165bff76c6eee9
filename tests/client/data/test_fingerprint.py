"""A data set's fingerprint follows from its records alone."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data.fingerprint import dataset_fingerprint

Records = list[tuple[str, str]]
records = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=8)


@given(records, st.randoms())
def test_order_does_not_matter(some: Records, source: random.Random) -> None:
    shuffled = some.copy()
    source.shuffle(shuffled)
    assert dataset_fingerprint(some) == dataset_fingerprint(iter(shuffled))


@given(records, records)
def test_other_records_have_another_fingerprint(one: Records, other: Records) -> None:
    assert (dataset_fingerprint(one) == dataset_fingerprint(other)) == (sorted(one) == sorted(other))


def test_text_cannot_move_between_prompt_and_response() -> None:
    assert dataset_fingerprint([("ab", "c")]) != dataset_fingerprint([("a", "bc")])


def test_a_repeated_record_counts() -> None:
    assert dataset_fingerprint([("a", "b")]) != dataset_fingerprint([("a", "b")] * 2)


def test_a_lone_surrogate_is_fingerprinted() -> None:
    assert dataset_fingerprint([("\ud800", "")]) != dataset_fingerprint([("\ud801", "")])


def test_the_fingerprint_is_stable_across_versions() -> None:
    # Ledgers on disk name data sets by it: if this changes, what is spent is forgotten.
    expected = "301408503a7bc7d55010f71951b722e2a35be79ee369548d7eb032806001f792"
    assert dataset_fingerprint([("prompt", "response"), ("é", "日本")]) == expected
