"""Envelopes: what one site gives to another opens for that site, in that round, by the two keys it is meant for."""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, keys
from sealora_common.secagg.bodies import ENVELOPE_BYTES, Advertisement, Envelope, Given
from sealora_common.secagg.wire import Reader

SHARE, MASK = keys.KeyPair(b"\1" * 32), keys.KeyPair(b"\2" * 32)
TO = Advertisement(SHARE.public, MASK.public)
GIVEN = Given(b"\3" * 32, b"\4" * 32, b"\5" * 32)
TERMS, ELSEWHERE = bytes(32), b"\1" * 32


def test_an_envelope_opens_for_its_holder() -> None:
    sealed = Envelope.seal(GIVEN, TO, 1, 2, TERMS)
    assert sealed.unseal(SHARE, MASK, 1, 2, TERMS) == GIVEN
    assert len(sealed.to_bytes()) == ENVELOPE_BYTES
    assert Envelope.read(Reader(sealed.to_bytes())) == sealed


@pytest.mark.parametrize(
    ("owner", "holder", "terms"), [(2, 1, TERMS), (3, 2, TERMS), (1, 3, TERMS), (1, 2, b"\1" * 32)]
)
def test_an_envelope_is_for_one_owner_holder_and_round(owner: int, holder: int, terms: bytes) -> None:
    sealed = Envelope.seal(GIVEN, TO, 1, 2, TERMS)
    with pytest.raises(ProtocolError, match="does not open"):
        sealed.unseal(SHARE, MASK, owner, holder, terms)
    with pytest.raises(ProtocolError, match="does not open"):
        sealed.unseal_contribution(MASK, owner, holder, terms)


def test_the_mask_key_opens_the_contribution_and_nothing_else() -> None:
    """It is restored when its site drops out: what others gave to that site besides stays closed."""
    sealed = Envelope.seal(GIVEN, TO, 1, 2, TERMS)
    assert sealed.unseal_contribution(MASK, 1, 2, TERMS) == GIVEN.contribution
    for what in (b"shares", b"contribution"):
        with pytest.raises(ProtocolError, match="does not open"):
            MASK.unseal(sealed.shares, keys.bound_to(what, 1, 2, TERMS))
        with pytest.raises(ProtocolError, match="does not open"):
            SHARE.unseal(sealed.contribution, keys.bound_to(what, 1, 2, TERMS))


def test_shares_and_contribution_cannot_stand_in_for_each_other() -> None:
    both = Advertisement(SHARE.public, SHARE.public)  # even where both were sealed to one key
    sealed = Envelope.seal(GIVEN, both, 1, 2, TERMS)
    shares = SHARE.unseal(sealed.shares, keys.bound_to(b"shares", 1, 2, TERMS))
    assert shares == GIVEN.self_mask + GIVEN.mask_seed
    with pytest.raises(ProtocolError, match="does not open"):
        SHARE.unseal(sealed.shares, keys.bound_to(b"contribution", 1, 2, TERMS))


def test_an_envelope_that_holds_something_else_is_refused() -> None:
    short = keys.seal(bytes(63), TO.share_public, keys.bound_to(b"shares", 1, 2, TERMS))
    sealed = Envelope(short, Envelope.seal(GIVEN, TO, 1, 2, TERMS).contribution)
    with pytest.raises(ProtocolError, match="holds no shares"):
        sealed.unseal(SHARE, MASK, 1, 2, TERMS)


@pytest.mark.parametrize("place", [0, 1184, 1216, 2400])
def test_nothing_is_sealed_to_an_unusable_key(place: int) -> None:
    public = bytearray(TO.to_bytes())
    public[place : place + 32] = b"\xff" * 32
    with pytest.raises(ProtocolError, match="unusable"):
        Envelope.seal(GIVEN, Advertisement.from_bytes(bytes(public)), 1, 2, TERMS)


def test_an_advertisement_is_four_keys() -> None:
    assert TO.is_usable
    assert b"".join(TO.parts) == TO.to_bytes()
    assert [len(part) for part in TO.parts] == [1184, 32, 1184, 32]
    for spoilt in (Advertisement(bytes(1216), MASK.public), Advertisement(SHARE.public, bytes(1216))):
        assert not spoilt.is_usable
