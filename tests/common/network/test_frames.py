"""Frames come apart as they were put together, and what is cut short is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.network.frames import MOST_PARTS, PART_BYTES, PARTS_BYTES, chosen, from_frames, to_frames

contents = st.lists(st.binary(max_size=300), max_size=8)


@given(contents)
def test_frames_come_apart_as_they_were_put_together(parts: list[bytes]) -> None:
    assert from_frames(to_frames(parts)) == parts


@given(contents.filter(bool), st.data())
def test_what_is_cut_short_is_told(parts: list[bytes], data: st.DataObject) -> None:
    body = to_frames(parts)
    ends = {len(to_frames(parts[:count])) for count in range(len(parts) + 1)}
    cut = data.draw(st.integers(0, len(body)))
    if cut in ends:
        assert to_frames(from_frames(body[:cut])) == body[:cut]
    else:
        with pytest.raises(ValueError, match="a framed body is cut short"):
            from_frames(body[:cut])


@given(st.binary(max_size=100))
def test_whatever_comes_is_frames_or_none(body: bytes) -> None:
    try:
        parts = from_frames(body)
    except ValueError:
        return
    assert to_frames(parts) == body


named = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.binary(max_size=40)), max_size=12)


@given(named, st.integers(0, 50), st.integers(0, 120))
def test_no_part_that_travels_is_too_large_nor_all_together(
    parts: list[tuple[str, bytes]], largest: int, room: int
) -> None:
    taken = chosen(parts, largest=largest, room=room)
    assert all(len(content) <= largest for content in taken.values())
    assert sum(map(len, taken.values())) <= room
    assert set(taken.items()) <= set(parts)
    left = room - sum(map(len, taken.values()))
    assert all(name in taken or len(content) > min(largest, left) for name, content in parts)


def test_a_part_travels_once_and_a_large_one_by_itself() -> None:
    assert chosen([("a", b"1"), ("a", b"1")]) == {"a": b"1"}
    assert chosen([("a", bytes(PART_BYTES + 1)), ("b", bytes(PART_BYTES))]) == {"b": bytes(PART_BYTES)}
    many = [(str(number), bytes(PART_BYTES)) for number in range(10)]
    assert len(chosen(many)) == PARTS_BYTES // PART_BYTES


def test_no_body_has_more_parts_than_may_travel_with_a_message() -> None:
    """A frame may be empty: eight megabytes would be two million parts."""
    most = bytes(4 * (1 + MOST_PARTS))
    assert len(from_frames(most)) == 1 + MOST_PARTS
    for more in (1, 1_000_000):
        with pytest.raises(ValueError, match="more than 10000 parts"):
            from_frames(most + bytes(4 * more))
    crumbs = [(str(number), b"1") for number in range(2 * MOST_PARTS)]
    assert list(chosen(crumbs)) == [name for name, _ in crumbs[:MOST_PARTS]]
