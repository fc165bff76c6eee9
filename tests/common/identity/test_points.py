from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.identity.points import is_public_key

P = 2**255 - 19
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
ANOTHER_OF_ORDER_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")


def encoded(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def with_sign(point: bytes) -> bytes:
    return point[:31] + bytes([point[31] | 0x80])


@given(st.binary(min_size=32, max_size=32))
def test_the_key_of_any_seed_is_one(seed):
    assert is_public_key(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


SMALL_ORDER = {
    "1": encoded(1),
    "2": encoded(P - 1),
    "4": encoded(0),
    "4, the other": encoded(0, 1),
    "8": ORDER_8,
    "8, its negative": with_sign(ORDER_8),
    "8, another": ANOTHER_OF_ORDER_8,
    "8, another's negative": with_sign(ANOTHER_OF_ORDER_8),
}


@pytest.mark.parametrize("order", SMALL_ORDER)
def test_a_point_of_small_order_is_none(order):
    """Under such a key one signature holds for many messages."""
    assert not is_public_key(SMALL_ORDER[order])


NOT_CANONICAL = {
    "the neutral element with a sign": encoded(1, 1),
    "y of order 2 with a sign": encoded(P - 1, 1),
    "y = p": encoded(P),
    "y = p + 1": encoded(P + 1),
    "y = p + 3, of a usable point": encoded(P + 3),
    "y = 2^255 - 1": encoded(2**255 - 1),
}


@pytest.mark.parametrize("case", NOT_CANONICAL)
def test_an_encoding_that_is_not_the_point_s_one_is_none(case):
    assert not is_public_key(NOT_CANONICAL[case])


def test_the_reduced_form_of_one_of_those_is_a_key():
    assert is_public_key(encoded(3))


def test_a_y_without_a_point_is_none():
    assert not is_public_key(encoded(2))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_another_length_is_none(length):
    assert not is_public_key(bytes([3]) + bytes(length)[1:] if length else b"")
