"""Ring vectors: packing round trips at every width and length, sums wrap at 2^w, and one value has one encoding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError, RingVector, Segment
from sealora_common.secagg.ring import pack, unpack

from secagg_reference import pack as reference_pack
from secagg_runs import same, vector_of

WIDTHS = range(12, 33)
segments_of = st.lists(st.builds(Segment, st.integers(0, 70), st.integers(12, 32)), min_size=1, max_size=4).map(tuple)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("length", [0, 1, 2, 7, 8, 9, 15, 16, 1003])
def test_packing_round_trips(bits: int, length: int) -> None:
    segment = Segment(length, bits)
    words = vector_of((segment,), bits, length).words[0]
    packed = pack(words, bits)
    assert len(packed) == segment.packed_bytes == -(-length * bits // 8)
    assert packed == reference_pack(words.tolist(), bits)
    restored = unpack(packed, segment)
    assert restored.dtype == segment.dtype
    assert restored.flags.writeable
    assert np.array_equal(restored, words)


@given(segments=segments_of, seed=st.integers(0, 2**32))
def test_vectors_round_trip(segments: tuple[Segment, ...], seed: int) -> None:
    vector = vector_of(segments, seed)
    assert same(RingVector.unpack(vector.pack(), segments), vector)


@given(segments=segments_of, data=st.data())
def test_what_unpacks_packs_to_the_same_bytes(segments: tuple[Segment, ...], data: st.DataObject) -> None:
    length = sum(segment.packed_bytes for segment in segments)
    content = data.draw(st.binary(min_size=length, max_size=length))
    try:
        vector = RingVector.unpack(content, segments)
    except ProtocolError:
        assert any(segment.length * segment.bits % 8 for segment in segments)
        return
    assert vector.pack() == content


@pytest.mark.parametrize("bits", [12, 13, 15, 17, 31])
def test_bits_past_the_last_word_are_refused(bits: int) -> None:
    segments = (Segment(3, bits), Segment(1, 32))
    content = bytearray(RingVector.zeros(segments).pack())
    spare = 8 * segments[0].packed_bytes - 3 * bits
    for bit in range(8):
        damaged = bytearray(content)
        damaged[segments[0].packed_bytes - 1] |= 1 << bit
        if bit >= 8 - spare:
            with pytest.raises(ProtocolError, match="past its last word"):
                RingVector.unpack(bytes(damaged), segments)
        else:
            RingVector.unpack(bytes(damaged), segments)


@pytest.mark.parametrize("change", [-1, 1, 100])
def test_another_length_is_refused(change: int) -> None:
    segments = (Segment(5, 13), Segment(2, 32))
    content = bytes(sum(segment.packed_bytes for segment in segments) + change)
    with pytest.raises(ProtocolError, match="wrong length"):
        RingVector.unpack(content, segments)


@settings(max_examples=60)
@given(segments=segments_of, count=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_sums_are_modulo_two_to_the_width(segments: tuple[Segment, ...], count: int, seed: int) -> None:
    vectors = [vector_of(segments, seed, each) for each in range(count)]
    total = RingVector.zeros(segments)
    for vector in vectors:
        total.add_(vector)
    total.reduce_()
    for place, segment in enumerate(segments):
        exact = sum((vector.words[place].astype(object) for vector in vectors), start=np.zeros(segment.length, object))
        assert total.words[place].tolist() == [int(word) % 2**segment.bits for word in exact]


def test_packing_reduces_first() -> None:
    segment = Segment(2, 12)
    vector = RingVector((segment,), (np.array([0xFFFF, 0x1001], dtype="<u2"),))
    assert RingVector.unpack(vector.pack(), (segment,)).words[0].tolist() == [0xFFF, 1]


@pytest.mark.parametrize(("length", "bits"), [(-1, 16), (2**40, 16), (1, 11), (1, 33), (1, 0)])
def test_impossible_segments_do_not_exist(length: int, bits: int) -> None:
    with pytest.raises(ValueError, match="Expected length"):
        Segment(length, bits)


@pytest.mark.parametrize(
    "words", [np.zeros(3, "<u2"), np.zeros(2, "<u4"), np.zeros(2, np.int16), np.zeros((2, 1), "<u2"), np.zeros(2)]
)
def test_words_that_do_not_fit_their_segment_are_refused(words: np.ndarray) -> None:
    with pytest.raises(ValueError, match="of shape"):
        RingVector((Segment(2, 16),), (words,))
