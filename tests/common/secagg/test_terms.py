"""Terms of a round: thresholds, limits, and one digest for all who agree."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError, RoundTerms, Segment, threshold_for
from sealora_common.secagg.graph import Neighbourhood

from secagg_runs import Federation


def test_equal_terms_have_one_digest() -> None:
    assert Federation.of(5).terms.digest == Federation.of(5).terms.digest
    assert len(Federation.of(5).terms.digest) == 32


def test_segments_cannot_be_shifted_into_each_other() -> None:
    shapes = [
        (),
        (Segment(1, 16),),
        (Segment(1, 16), Segment(0, 16)),
        (Segment(0, 16), Segment(1, 16)),
        (Segment(2, 16),),
    ]
    assert len({Federation.of(5, segments=shape).terms.digest for shape in shapes}) == len(shapes)


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


def test_what_is_needed_is_the_higher_of_threshold_and_floor() -> None:
    assert Federation.of(5, "curious", min_survivors=2).terms.needed == 3
    assert Federation.of(5, "curious", min_survivors=5).terms.needed == 5


def test_the_graph_is_complete_among_few_sites_and_on_request() -> None:
    assert Federation.of(10).terms.neighbourhood(9) == Neighbourhood(8, 7)
    assert Federation.of(40).terms.neighbourhood(40) == Neighbourhood(21, 18)
    assert Federation.of(40, sparse=False).terms.neighbourhood(40) == Neighbourhood(39, 27)


SHAPES = st.lists(st.builds(Segment, st.integers(0, 2**40 - 1), st.sampled_from([12, 16, 24, 32])), max_size=5)


@given(SHAPES, st.booleans(), st.integers(2, 5))
def test_terms_are_read_as_they_were_written(shapes: list[Segment], sparse: bool, floor: int) -> None:
    terms = replace(Federation.of(5).terms, segments=tuple(shapes), sparse=sparse, min_survivors=floor)
    assert RoundTerms.from_bytes(terms.to_bytes()) == terms
    assert RoundTerms.from_bytes(terms.to_bytes()).digest == terms.digest


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_terms_with_a_byte_changed_are_other_terms_or_refused(position: int, change: int) -> None:
    terms = Federation.of(5).terms
    content = bytearray(terms.to_bytes())
    content[position % len(content)] ^= change
    try:
        assert RoundTerms.from_bytes(bytes(content)).digest != terms.digest
    except ProtocolError:
        return


CANNOT_BE = {
    "cut short": lambda content: content[:-1],
    "padded": lambda content: content + b"\0",
    "another version": lambda content: b"\x02" + content[1:],
    "sparse twice over": lambda content: content.replace(
        b"\x00\x05\x00\x04\x00\x03\x01", b"\x00\x05\x00\x04\x00\x03\x02"
    ),
    "a threshold below half": lambda content: content.replace(b"\x00\x05\x00\x04\x00\x03", b"\x00\x05\x00\x02\x00\x03"),
    "a floor of one": lambda content: content.replace(b"\x00\x05\x00\x04\x00\x03", b"\x00\x05\x00\x04\x00\x01"),
    "nothing": lambda content: b"",
}


@pytest.mark.parametrize("case", CANNOT_BE)
def test_bytes_that_are_no_terms_are_refused(case: str) -> None:
    content = Federation.of(5, min_survivors=3).terms.to_bytes()
    changed = CANNOT_BE[case](content)
    assert changed != content
    with pytest.raises(ProtocolError):
        RoundTerms.from_bytes(changed)
