"""Shapes of micro-batches follow from the recipe and from each record alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data.example import Example
from sealora_client.model.fixed_shape import SHORTEST, micro_batches, padded_length, padded_lengths

sizes = st.integers(0, 1 << 20)


def example(size: int) -> Example:
    return Example(np.zeros(size, np.int32), prompt_length=0)


@given(sizes)
def test_a_row_holds_a_token_of_padding_and_little_more(size: int) -> None:
    length = padded_length(size)
    assert length > size
    assert length == SHORTEST or length <= 1.5 * size + 8
    assert length % 8 == 0


@given(sizes, sizes)
def test_longer_records_are_never_padded_to_less(one: int, other: int) -> None:
    assert padded_length(min(one, other)) <= padded_length(max(one, other))


@given(st.integers(0, 5000))
def test_all_lengths_are_known_beforehand_and_few(max_tokens: int) -> None:
    lengths = padded_lengths(max_tokens)
    assert lengths == sorted({padded_length(size) for size in range(max_tokens + 1)})
    assert len(lengths) <= 15


@given(st.integers(7, 17))
def test_the_longest_records_of_common_recipes_need_no_more_than_their_own_length(exponent: int) -> None:
    assert padded_length(1 << exponent) == (1 << exponent) + 8


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 9))
def test_micro_batches_hold_every_example_once_with_its_like(sizes: list[int], rows: int) -> None:
    batches = list(micro_batches([example(size) for size in sizes], rows))
    assert sorted(place for places in batches for place in places) == list(range(len(sizes)))
    lengths = [{padded_length(sizes[place]) for place in places} for places in batches]
    assert all(len(each) == 1 for each in lengths)
    firsts = [max(each) for each in lengths]
    assert firsts == sorted(firsts, reverse=True)
    assert all(1 <= len(places) <= rows and places == sorted(places) for places in batches)
    # Of each length at most one is not full.
    assert sum(len(places) < rows for places in batches) <= len(set(firsts))
