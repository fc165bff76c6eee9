"""Keys of a round: the same from either side, different for any other purpose, pair, direction or terms."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError, keys

private_keys = st.binary(min_size=32, max_size=32)
site_indices = st.integers(0, 2**16 - 1)


@given(left=private_keys, right=private_keys, low=site_indices, high=site_indices, terms=private_keys)
def test_both_sides_derive_the_same_mask_key(left: bytes, right: bytes, low: int, high: int, terms: bytes) -> None:
    ours = keys.mask_key(left, keys.public_key(right), low, high, terms)
    theirs = keys.mask_key(right, keys.public_key(left), high, low, terms)
    assert ours == theirs
    assert len(ours) == keys.KEY_BYTES == 32


def test_every_purpose_pair_and_round_has_a_key_of_its_own() -> None:
    left, right, terms = os.urandom(32), os.urandom(32), os.urandom(32)
    public = keys.public_key(right)
    made = [
        keys.mask_key(left, public, 1, 2, terms),
        keys.mask_key(left, public, 1, 3, terms),
        keys.mask_key(left, public, 1, 258, terms),  # 0x0102: indices are of fixed width
        keys.mask_key(left, public, 1, 2, os.urandom(32)),
        keys.mask_key(left, keys.public_key(os.urandom(32)), 1, 2, terms),
        keys.self_mask_key(left, 1, terms),
        keys.self_mask_key(left, 2, terms),
        keys.self_mask_key(right, 1, terms),
        keys._derive(keys._agree(left, public), terms, b"share encryption" + keys._pair(1, 2)),
    ]
    assert len(set(made)) == len(made)


@given(left=private_keys, right=private_keys, plaintext=st.binary(max_size=200))
def test_what_is_sealed_opens(left: bytes, right: bytes, plaintext: bytes) -> None:
    terms = bytes(32)
    for sender, recipient, mine, theirs in ((1, 2, left, right), (2, 1, left, right)):
        sealed = keys.seal_for_peer(mine, keys.public_key(theirs), sender, recipient, terms, plaintext)
        assert len(sealed) == len(plaintext) + 16
        opened = keys.open_from_peer(theirs, keys.public_key(mine), sender, recipient, terms, sealed)
        assert opened == plaintext


@pytest.mark.parametrize(
    "change", ["private", "public", "sender", "recipient", "swapped", "terms", "flipped", "short", "empty"]
)
def test_what_was_sealed_for_another_does_not_open(change: str) -> None:
    left, right, terms = os.urandom(32), os.urandom(32), os.urandom(32)
    sealed = keys.seal_for_peer(left, keys.public_key(right), 1, 2, terms, b"a share")
    asked = {"private": right, "public": keys.public_key(left), "sender": 1, "recipient": 2, "terms": terms}
    changed = {
        "private": {"private": os.urandom(32)},
        "public": {"public": keys.public_key(os.urandom(32))},
        "sender": {"sender": 3},
        "recipient": {"recipient": 3},
        "swapped": {"sender": 2, "recipient": 1},
        "terms": {"terms": os.urandom(32)},
    }.get(change, {})
    damaged = {"flipped": bytes([sealed[0] ^ 1]) + sealed[1:], "short": sealed[:-1], "empty": b""}.get(change, sealed)
    opening = asked | changed
    with pytest.raises(ProtocolError, match="does not open"):
        keys.open_from_peer(
            opening["private"],  # type: ignore[arg-type]
            opening["public"],  # type: ignore[arg-type]
            opening["sender"],  # type: ignore[arg-type]
            opening["recipient"],  # type: ignore[arg-type]
            opening["terms"],  # type: ignore[arg-type]
            damaged,
        )


def test_the_two_directions_of_a_pair_use_two_nonces() -> None:
    left, right, terms = os.urandom(32), os.urandom(32), bytes(32)
    there = keys.seal_for_peer(left, keys.public_key(right), 1, 2, terms, bytes(64))
    back = keys.seal_for_peer(right, keys.public_key(left), 2, 1, terms, bytes(64))
    assert there[:64] != back[:64]


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_public_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match="unusable"):
        keys.mask_key(os.urandom(32), bytes(length), 0, 1, bytes(32))
