"""The transcript of a session: its digests cover every key, statement, draw and checker, and it has one encoding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError
from sealora_common.secagg.transcript import Shared, Transcript, keys_digest, read_table, table_bytes
from sealora_common.secagg.wire import Reader

site = st.integers(0, 2**16 - 1)
bytes32 = st.binary(min_size=32, max_size=32)
site_sets = st.lists(site, unique=True, max_size=8).map(lambda sites: tuple(sorted(sites)))
KEYS = {index: bytes([index]) * 32 for index in range(5)}
SHARED = {
    0: Shared(b"\x10" * 32, (1, 2)),
    1: Shared(b"\x11" * 32, (2, 4)),
    2: Shared(b"\x12" * 32, (0, 1)),
    3: Shared(b"\x13" * 32, (0, 4)),
}
TRANSCRIPT = Transcript(KEYS, SHARED, (0, 1, 3))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    rows = draw(st.dictionaries(site, st.tuples(bytes32, site_sets), max_size=5))
    shared = {
        owner: Shared(statement, tuple(other for other in neighbours if other != owner))
        for owner, (statement, neighbours) in rows.items()
    }
    return Transcript(draw(st.dictionaries(site, bytes32, max_size=5)), shared, draw(site_sets))


ELSEWHERE: dict[str, dict[str, Any]] = {
    "a key": {"keys": KEYS | {2: b"\xff" * 32}},
    "two keys swapped": {"keys": KEYS | {1: KEYS[2], 2: KEYS[1]}},
    "a key less": {"keys": {index: KEYS[index] for index in range(4)}},
    "a key's site": {"keys": {index: KEYS[index] for index in range(4)} | {5: KEYS[4]}},
    "a statement": {"shared": SHARED | {1: replace(SHARED[1], statement=bytes(32))}},
    "two statements swapped": {
        "shared": SHARED
        | {0: replace(SHARED[0], statement=b"\x11" * 32), 1: replace(SHARED[1], statement=b"\x10" * 32)}
    },
    "a neighbour": {"shared": SHARED | {1: replace(SHARED[1], neighbours=(2, 3))}},
    "a neighbour less": {"shared": SHARED | {1: replace(SHARED[1], neighbours=(2,))}},
    "a sharer less": {"shared": {index: SHARED[index] for index in range(3)}},
    "a sharer's site": {"shared": {index: SHARED[index] for index in range(3)} | {4: Shared(b"\x13" * 32, (0, 1))}},
    "nobody shared": {"shared": {}},
}


@pytest.mark.parametrize("change", ELSEWHERE)
def test_the_digests_cover_every_key_statement_and_draw(change: str) -> None:
    other = replace(TRANSCRIPT, **ELSEWHERE[change])
    assert other.shared_digest != TRANSCRIPT.shared_digest
    assert other.digest != TRANSCRIPT.digest


def test_every_change_has_digests_of_its_own() -> None:
    others = [replace(TRANSCRIPT, **changes) for changes in ELSEWHERE.values()]
    assert len({other.shared_digest for other in others}) == len(others)


@pytest.mark.parametrize("checked", [(), (0, 1), (0, 1, 2), (0, 1, 2, 3), (0, 1, 4)])
def test_who_checked_is_part_of_the_whole_and_not_of_what_was_shared(checked: tuple[int, ...]) -> None:
    other = replace(TRANSCRIPT, checked=checked)
    assert other.shared_digest == TRANSCRIPT.shared_digest
    assert other.digest != TRANSCRIPT.digest


def test_no_digest_can_stand_in_for_another() -> None:
    bare = Transcript(KEYS, {})
    assert len({keys_digest(KEYS), bare.shared_digest, bare.digest, TRANSCRIPT.shared_digest, TRANSCRIPT.digest}) == 5


def test_the_order_in_which_sites_are_known_does_not_matter() -> None:
    other = Transcript(dict(reversed(KEYS.items())), dict(reversed(SHARED.items())), TRANSCRIPT.checked)
    assert other.digest == TRANSCRIPT.digest
    assert other.to_bytes() == TRANSCRIPT.to_bytes()


def test_who_drew_whom() -> None:
    assert TRANSCRIPT.drew(0, 1)
    assert not TRANSCRIPT.drew(1, 0)
    assert TRANSCRIPT.are_neighbours(1, 0)
    assert TRANSCRIPT.are_neighbours(0, 1)
    assert not TRANSCRIPT.are_neighbours(1, 3)
    assert not TRANSCRIPT.are_neighbours(2, 3)


def test_holders_are_the_drawn_and_the_owner_in_order() -> None:
    assert TRANSCRIPT.holders(1) == (1, 2, 4)
    assert [TRANSCRIPT.point(1, holder) for holder in (1, 2, 4)] == [1, 2, 3]
    assert TRANSCRIPT.holders(3) == (0, 3, 4)
    assert TRANSCRIPT.point(3, 0) == 1
    with pytest.raises(ValueError, match="not in tuple"):
        TRANSCRIPT.point(3, 1)


@settings(max_examples=60)
@given(transcripts())
def test_a_transcript_reads_back(transcript: Transcript) -> None:
    assert Transcript.from_bytes(transcript.to_bytes()) == transcript
    assert read_table(Reader(table_bytes(transcript.shared))) == transcript.shared


@settings(max_examples=150)
@given(transcripts(), st.data())
def test_an_altered_byte_is_refused_or_changes_the_digest(transcript: Transcript, data: st.DataObject) -> None:
    altered = bytearray(transcript.to_bytes())
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = Transcript.from_bytes(bytes(altered))
    except ProtocolError:
        return
    assert read.to_bytes() == bytes(altered)
    assert read.digest != transcript.digest


@given(transcripts(), st.data())
def test_a_byte_more_or_less_is_refused(transcript: Transcript, data: st.DataObject) -> None:
    content = transcript.to_bytes()
    with pytest.raises(ProtocolError, match="trailing"):
        Transcript.from_bytes(content + b"\0")
    with pytest.raises(ProtocolError):
        Transcript.from_bytes(content[: data.draw(st.integers(0, len(content) - 1))])


def test_a_site_that_is_its_own_neighbour_is_refused() -> None:
    table = SHARED | {2: Shared(bytes(32), (0, 2))}
    with pytest.raises(ProtocolError, match="its own neighbour"):
        read_table(Reader(table_bytes(table)))
    with pytest.raises(ProtocolError, match="its own neighbour"):
        Transcript.from_bytes(Transcript(KEYS, table).to_bytes())
