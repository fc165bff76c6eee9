"""Terms of a round: thresholds, limits, one digest for all who agree, and one form that reads back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError, RoundTerms, Segment, threshold_for
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.terms import most_corrupted

from secagg_runs import Federation

bytes32 = st.binary(min_size=32, max_size=32)
TERMS = Federation.of(5).terms
ELSEWHERE: dict[str, Any] = {
    "run": bytes(16),
    "round_number": 2,
    "attempt": 2,
    "recipe_hash": bytes(32),
    "roster_hash": bytes(32),
    "order_digest": bytes(32),
    "roster_size": 6,
    "threshold": 3,
    "min_survivors": 3,
    "segments": (Segment(5, 16),),
    "sessions": 2,
    "sparse": False,
}


@st.composite
def terms(draw: st.DrawFn) -> RoundTerms:
    size = draw(st.integers(2, 2**16 - 1))
    segments = draw(st.lists(st.builds(Segment, st.integers(0, 2**40 - 1), st.integers(12, 32)), max_size=4))
    return RoundTerms(
        run=draw(st.binary(min_size=16, max_size=16)),
        round_number=draw(st.integers(0, 2**32 - 1)),
        attempt=draw(st.integers(0, 2**32 - 1)),
        recipe_hash=draw(bytes32),
        roster_hash=draw(bytes32),
        order_digest=draw(bytes32),
        roster_size=size,
        threshold=draw(st.integers(size // 2 + 1, size)),
        min_survivors=draw(st.integers(2, size)),
        segments=tuple(segments),
        sessions=draw(st.integers(1, 2**32 - 1)),
        sparse=draw(st.booleans()),
    )


def test_equal_terms_have_one_digest() -> None:
    assert Federation.of(5).terms.digest == TERMS.digest
    assert len(TERMS.digest) == 32


def test_the_digest_covers_every_field() -> None:
    assert set(ELSEWHERE) == set(RoundTerms.__dataclass_fields__)
    digests = {replace(TERMS, **{name: value}).digest for name, value in ELSEWHERE.items()}
    assert len(digests - {TERMS.digest}) == len(ELSEWHERE)


def test_segments_cannot_be_shifted_into_each_other() -> None:
    shapes = [
        (),
        (Segment(1, 16),),
        (Segment(1, 16), Segment(0, 16)),
        (Segment(0, 16), Segment(1, 16)),
        (Segment(2, 16),),
    ]
    assert len({Federation.of(5, segments=shape).terms.digest for shape in shapes}) == len(shapes)


# --- bytes


@given(terms())
def test_terms_read_back(each: RoundTerms) -> None:
    assert RoundTerms.from_bytes(each.to_bytes()) == each


@settings(max_examples=200)
@given(terms(), st.data())
def test_an_altered_byte_is_refused_or_makes_other_terms(each: RoundTerms, data: st.DataObject) -> None:
    altered = bytearray(each.to_bytes())
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = RoundTerms.from_bytes(bytes(altered))
    except ProtocolError:
        return
    assert read != each
    assert read.to_bytes() == bytes(altered)


@given(terms(), st.data())
def test_a_byte_more_or_less_is_refused(each: RoundTerms, data: st.DataObject) -> None:
    content = each.to_bytes()
    with pytest.raises(ProtocolError, match="trailing"):
        RoundTerms.from_bytes(content + b"\0")
    with pytest.raises(ProtocolError):
        RoundTerms.from_bytes(content[: data.draw(st.integers(0, len(content) - 1))])


@pytest.mark.parametrize("version", [0, 1, 3, 255])
def test_another_version_is_refused(version: int) -> None:
    with pytest.raises(ProtocolError, match="another version"):
        RoundTerms.from_bytes(bytes([version]) + TERMS.to_bytes()[1:])


@pytest.mark.parametrize("sparse", [2, 3, 128, 255])
def test_a_truth_value_has_one_form(sparse: int) -> None:
    content = bytearray(TERMS.to_bytes())
    place = 1 + 16 + 4 + 4 + 3 * 32 + 3 * 2 + 4
    assert content[place] == 1
    content[place] = sparse
    with pytest.raises(ProtocolError, match="not in canonical form"):
        RoundTerms.from_bytes(bytes(content))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (121, b"\0\1"),  # a roster of one
        (123, b"\0\2"),  # a threshold of two of five
        (123, b"\0\6"),  # a threshold above the roster
        (125, b"\0\1"),  # a floor of one
        (127, b"\0\0\0\0"),  # no session
        (138, b"\x0b"),  # words of eleven bits
    ],
)
def test_terms_that_make_no_sense_are_refused(place: int, value: bytes) -> None:
    content = bytearray(TERMS.to_bytes())
    content[place : place + len(value)] = value
    with pytest.raises(ProtocolError, match="make no sense"):
        RoundTerms.from_bytes(bytes(content))


# --- thresholds and floors


@pytest.mark.parametrize(
    ("size", "malicious", "curious"), [(2, 2, 2), (3, 3, 2), (4, 3, 3), (5, 4, 3), (10, 7, 6), (100, 67, 51)]
)
def test_thresholds(size: int, malicious: int, curious: int) -> None:
    assert threshold_for(size, "malicious") == malicious
    assert threshold_for(size, "curious") == curious


@pytest.mark.parametrize("min_survivors", [0, 1, 6])
def test_a_floor_of_one_or_above_the_roster_does_not_exist(min_survivors: int) -> None:
    with pytest.raises(ValueError, match="min_survivors"):
        Federation.of(5, min_survivors=min_survivors)


@pytest.mark.parametrize("threshold", [0, 1, 2, 6])
def test_a_threshold_of_half_the_roster_or_above_it_does_not_exist(threshold: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Federation.of(5, threshold=threshold)
    with pytest.raises(ValueError, match="threshold"):
        Federation.of(4, threshold=2)


@pytest.mark.parametrize("sessions", [-1, 0, 2**32])
def test_there_is_at_least_one_session(sessions: int) -> None:
    with pytest.raises(ValueError, match="sessions"):
        Federation.of(5, sessions=sessions)


def test_what_is_needed_is_the_higher_of_threshold_and_floor() -> None:
    assert Federation.of(5, "curious", min_survivors=2).terms.needed == 3
    assert Federation.of(5, "curious", min_survivors=5).terms.needed == 5


@pytest.mark.parametrize(("size", "corrupted"), [(2, 0), (3, 0), (4, 1), (6, 1), (7, 2), (10, 3), (100, 33)])
def test_fewer_than_a_third_are_taken_to_be_corrupted(size: int, corrupted: int) -> None:
    assert most_corrupted(size) == corrupted
    assert 3 * corrupted < size <= 3 * (corrupted + 1)


def test_the_graph_is_complete_among_few_sites_and_on_request() -> None:
    assert Federation.of(10).terms.neighbourhood(9) == Neighbourhood(8, 7)
    assert Federation.of(40).terms.neighbourhood(40) == Neighbourhood(21, 18)
    assert Federation.of(40, sparse=False).terms.neighbourhood(40) == Neighbourhood(39, 27)


def test_more_sessions_ask_for_more_neighbours() -> None:
    assert Federation.of(40, sessions=300).terms.neighbourhood(40) == Neighbourhood(22, 19)
    assert Federation.of(10, sessions=300).terms.neighbourhood(9) == Neighbourhood(8, 7)
