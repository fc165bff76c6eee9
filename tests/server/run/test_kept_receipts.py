"""Receipts that are read when they are asked for behave as the list that they once were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.receipts.receipt import Receipt
from sealora_server.run.stored.receipts import KeptReceipts

from quorum import Consortium

CONSORTIUM = Consortium()
CHAIN: list[Receipt] = []
for _ in range(4):
    CHAIN.append(CONSORTIUM.receipt(CONSORTIUM.order(CHAIN)))


def kept(stored: int) -> tuple[KeptReceipts, list[int]]:
    asked: list[int] = []

    def read(number: int) -> Receipt:
        asked.append(number)
        return CHAIN[number - 1]

    receipts = KeptReceipts(stored, read)
    for receipt in CHAIN[stored:]:
        receipts.append(receipt)
    return receipts, asked


@given(st.integers(0, 4), st.slices(6))
def test_they_are_those_of_the_chain(stored: int, part: slice) -> None:
    receipts, _ = kept(stored)
    assert len(receipts) == len(CHAIN)
    assert receipts[part] == CHAIN[part]
    assert [receipts[index] for index in range(-4, 4)] == CHAIN + CHAIN
    with pytest.raises(IndexError):
        receipts[4]


def test_the_last_one_is_at_hand_and_no_other_is_kept() -> None:
    receipts, asked = kept(2)
    asked.clear()
    assert receipts[-1] == CHAIN[-1]
    assert asked == []
    assert (receipts[1], receipts[1]) == (CHAIN[1], CHAIN[1])
    assert asked == [2, 2]


def test_there_may_be_none() -> None:
    receipts = KeptReceipts(0, lambda number: pytest.fail("none is asked for"))
    assert not receipts
    assert receipts[:] == []
