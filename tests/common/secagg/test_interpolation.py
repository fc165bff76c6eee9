"""Restoring secrets: the quick interpolation gives what pycryptodome's Shamir gives."""

from __future__ import annotations

import pytest
from Crypto.Protocol.SecretSharing import Shamir
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError, shares

_POINTED_SHARES = st.dictionaries(
    st.integers(0, 2**16 - 1), st.binary(min_size=32, max_size=32), min_size=1, max_size=9
)


@given(_POINTED_SHARES, st.data())
def test_any_points_and_shares_combine_as_in_pycryptodome(held: dict[int, bytes], data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, len(held)))
    chosen = sorted(held.items())[:threshold]
    halves = [Shamir.combine([(point, share[at : at + 16]) for point, share in chosen]) for at in (0, 16)]
    assert shares.combine(held, threshold) == bytes(halves[0]) + bytes(halves[1])


@given(st.binary(min_size=32, max_size=32), st.permutations(range(1, 13)), st.integers(1, 12))
def test_any_threshold_of_the_shares_restore_the_secret(secret: bytes, order: list[int], threshold: int) -> None:
    split = shares.split(secret, threshold, len(order))
    held = {point: split[point - 1] for point in order[:threshold]}
    assert shares.combine(held, threshold) == secret


def test_large_neighbourhoods_restore_the_secret() -> None:
    secret = bytes(range(224, 256))
    held = dict(enumerate(shares.split(secret, 90, 128), start=1))
    assert shares.combine({point: share for point, share in held.items() if point % 10}, 90) == secret


@pytest.mark.parametrize("element", [1, 2, 0x87, (1 << 128) - 1, 1 << 127])
def test_dividing_undoes_multiplying_in_both_lanes(element: int) -> None:
    left, right = 0x0123456789ABCDEF0123456789ABCDEF, (1 << 128) - 3
    lanes = shares._modulo(shares._multiply(left, element)) | shares._modulo(shares._multiply(right, element)) << 256
    quotients = shares._divide(lanes, element)
    assert (shares._modulo(quotients % (1 << 256)), shares._modulo(quotients >> 256)) == (left, right)


def test_too_few_shares_are_refused() -> None:
    with pytest.raises(ProtocolError):
        shares.combine({1: bytes(32)}, 2)
