"""Mask streams: they cancel, wrap, cover every segment, and do not depend on how the work is cut into blocks."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.secagg import RingVector, Segment, masks

from secagg_reference import mask_words
from secagg_runs import same, vector_of

segments_of = st.lists(st.builds(Segment, st.integers(0, 50), st.integers(12, 32)), min_size=1, max_size=4).map(tuple)
keys_of = st.lists(st.binary(min_size=32, max_size=32), max_size=5)


@given(segments=segments_of, plus=keys_of, minus=keys_of)
def test_what_is_added_comes_off_again(segments: tuple[Segment, ...], plus: list[bytes], minus: list[bytes]) -> None:
    vector, plain = vector_of(segments, 1), vector_of(segments, 1)
    masks.apply_masks(vector, plus, minus)
    masks.apply_masks(vector, minus, plus)
    vector.reduce_()
    assert same(vector, plain)


@given(segments=segments_of, plus=keys_of, minus=keys_of)
def test_masks_are_those_of_the_reference(segments: tuple[Segment, ...], plus: list[bytes], minus: list[bytes]) -> None:
    vector, plain = vector_of(segments, 2), vector_of(segments, 2)
    masks.apply_masks(vector, plus, minus)
    vector.reduce_()
    shape = [(segment.length, segment.bits) for segment in segments]
    for place, segment in enumerate(segments):
        expected = plain.words[place].astype(object)
        for key, sign in [(key, 1) for key in plus] + [(key, -1) for key in minus]:
            expected = expected + sign * np.array(mask_words(key, shape)[place], dtype=object)
        assert vector.words[place].tolist() == [int(word) % 2**segment.bits for word in expected]


@settings(max_examples=20)
@given(block=st.sampled_from([16, 64, 1 << 12]), length=st.integers(0, 3000))
def test_the_block_size_does_not_matter(block: int, length: int) -> None:
    segments = (Segment(length, 13), Segment(17, 32), Segment(length, 16))
    key = os.urandom(32)
    whole, cut = vector_of(segments, 3), vector_of(segments, 3)
    masks.apply_masks(whole, [key], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "_BLOCK_BYTES", block)
        masks.apply_masks(cut, [key], [])
    assert same(whole, cut)


def test_any_number_of_keys_may_be_applied_at_once() -> None:
    segments = (Segment(10, 16),)
    many = [os.urandom(32) for _ in range(203)]
    at_once, one_by_one = vector_of(segments, 4), vector_of(segments, 4)
    masks.apply_masks(at_once, many[:150], many[150:])
    for place, key in enumerate(many):
        masks.apply_masks(one_by_one, *([[key], []] if place < 150 else [[], [key]]))
    assert same(at_once, one_by_one)


@pytest.mark.parametrize("threads", [2, 3, 8, 500])
def test_any_number_of_threads_may_take_their_share(threads: int) -> None:
    segments = (Segment(70_000, 16), Segment(10, 32))  # beyond a block of the implementation
    many = [os.urandom(32) for _ in range(41)]
    alone, together = vector_of(segments, 5), vector_of(segments, 5)
    masks.apply_masks(alone, many[:30], many[30:])
    masks.apply_batches(together, [(many[:20], many[30:35]), (many[20:30], many[35:])], threads=threads)
    assert same(alone, together)


@pytest.mark.parametrize("bits", [12, 16, 17, 32])
def test_a_masked_word_is_uniform(bits: int) -> None:
    """Whatever the plain word: chi-square of the highest and the lowest four bits, at a level of about 1e-7."""
    segment = Segment(100_000, bits)
    vector = RingVector((segment,), (np.full(segment.length, 2**bits - 1, dtype=segment.dtype),))
    masks.apply_masks(vector, [os.urandom(32)], [])
    vector.reduce_()
    for nibble in (vector.words[0] & 15, vector.words[0] >> (bits - 4)):
        counts = np.bincount(nibble, minlength=16)
        assert ((counts - 6250) ** 2 / 6250).sum() < 62


def test_a_key_of_another_length_is_refused() -> None:
    for length in (0, 16, 24, 31, 33, 64):
        with pytest.raises(ValueError, match=r"key|size"):
            masks.apply_masks(RingVector.zeros((Segment(1, 16),)), [bytes(length)], [])
