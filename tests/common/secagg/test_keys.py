"""Keys of a round: pairs from seeds, what is sealed to them, and derivations that differ for any other purpose, pair,
direction or terms."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.secagg import ProtocolError, keys

bytes32 = st.binary(min_size=32, max_size=32)
site_indices = st.integers(0, 2**16 - 1)
FIELD = 2**255 - 19
PAIR, OTHER = keys.KeyPair(bytes(range(32))), keys.KeyPair(bytes(32))
ML_KEM, X25519 = keys.halves(PAIR.public)
SMALL_ORDER = {
    "zero": 0,
    "one": 1,
    "order eight": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "order eight, the other": 39382357235489614581723060781553021112529911719440698176882885853963445705823,
    "minus one": FIELD - 1,
}
"""All reduced u-coordinates of small order (Bernstein, cr.yp.to/ecdh.html, on validating public keys)."""


def with_x25519(value: int) -> bytes:
    return ML_KEM + value.to_bytes(32, "little")


# --- key pairs


@settings(max_examples=20)
@given(bytes32, bytes32)
def test_a_seed_stands_for_one_pair(one: bytes, other: bytes) -> None:
    public = keys.KeyPair(one).public
    assert len(public) == keys.PUBLIC_KEY_BYTES == 1216
    assert keys.KeyPair(one).public == public
    assert keys.is_usable(public)
    if one != other:
        assert not set(keys.halves(public)) & set(keys.halves(keys.KeyPair(other).public))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="Expected a seed of 32 bytes"):
        keys.KeyPair(bytes(length))


# --- which public keys are taken


UNUSABLE = {
    "top bit set": with_x25519(int.from_bytes(X25519, "little") | 1 << 255),
    "the field's prime": with_x25519(FIELD),
    "unreduced, of a usable key": with_x25519(FIELD + 9),
    "unreduced, the last": with_x25519(2**255 - 1),
    **{f"small order: {name}": with_x25519(value) for name, value in SMALL_ORDER.items()},
    "a coefficient of the modulus": b"\x01\x0d" + PAIR.public[2:],  # 0xd01 = 3329, the first twelve bits
    "a coefficient of all ones": b"\xff" * 3 + PAIR.public[3:],
    "the last coefficient of all ones": ML_KEM[:1149] + b"\xff" * 3 + ML_KEM[1152:] + X25519,
    "a byte short": PAIR.public[:-1],
    "a byte long": PAIR.public + b"\0",
    "empty": b"",
    "X25519 alone": X25519,
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_key_that_is_not_in_its_one_form_or_of_which_no_secret_comes_is_refused(name: str) -> None:
    assert not keys.is_usable(UNUSABLE[name])
    with pytest.raises(ProtocolError, match="unusable"):
        keys.seal(b"anything", UNUSABLE[name], b"bound")


def test_the_neighbours_of_unusable_keys_are_usable() -> None:
    assert (ML_KEM[0] | ML_KEM[1] << 8) & 0xFFF < 3329
    assert keys.is_usable(b"\x00\x0d" + PAIR.public[2:])  # a coefficient of 3328
    assert keys.is_usable(with_x25519(9))
    assert keys.is_usable(with_x25519(FIELD - 2))
    assert keys.is_usable(with_x25519(2))


def test_two_spellings_of_one_key_are_not_both_taken() -> None:
    """What X25519 itself would let pass: the same secret comes of both."""
    spellings = [with_x25519(9), with_x25519(9 + FIELD), with_x25519(9 | 1 << 255)]
    assert [keys.is_usable(each) for each in spellings] == [True, False, False]


# --- sealing


@settings(max_examples=30)
@given(st.binary(max_size=200), st.binary(max_size=50))
def test_what_is_sealed_opens(plaintext: bytes, bound: bytes) -> None:
    sealed = keys.seal(plaintext, PAIR.public, bound)
    assert len(sealed) == len(plaintext) + keys.SEALED_BYTES
    assert PAIR.unseal(sealed, bound) == plaintext


def test_the_same_is_never_sealed_alike() -> None:
    sealed = [keys.seal(b"a share", PAIR.public, b"bound") for _ in range(20)]
    for piece in (slice(0, 1088), slice(1088, 1120), slice(1120, None)):
        assert len({each[piece] for each in sealed}) == 20


@settings(max_examples=150)
@given(st.integers(0, 32 + keys.SEALED_BYTES - 1), st.integers(1, 255))
def test_an_altered_byte_anywhere_does_not_open(place: int, change: int) -> None:
    sealed = bytearray(keys.seal(bytes(32), PAIR.public, b"bound"))
    sealed[place] ^= change
    with pytest.raises(ProtocolError, match="does not open"):
        PAIR.unseal(bytes(sealed), b"bound")


def test_the_ephemeral_key_is_bound_to_as_it_was_sent() -> None:
    """X25519 ignores its top bit; the shared secret is derived from the bytes as well."""
    sealed = bytearray(keys.seal(bytes(32), PAIR.public, b"bound"))
    sealed[1119] ^= 0x80
    with pytest.raises(ProtocolError, match="does not open"):
        PAIR.unseal(bytes(sealed), b"bound")


@pytest.mark.parametrize("name", SMALL_ORDER)
def test_an_ephemeral_key_of_small_order_does_not_open(name: str) -> None:
    sealed = keys.seal(bytes(32), PAIR.public, b"bound")
    forged = sealed[:1088] + SMALL_ORDER[name].to_bytes(32, "little") + sealed[1120:]
    with pytest.raises(ProtocolError, match="does not open"):
        PAIR.unseal(forged, b"bound")


@pytest.mark.parametrize("length", [0, 1, 1088, 1120, keys.SEALED_BYTES - 1])
def test_what_is_too_short_does_not_open(length: int) -> None:
    with pytest.raises(ProtocolError, match="does not open"):
        PAIR.unseal(keys.seal(b"", PAIR.public, b"bound")[:length], b"bound")


def test_it_takes_both_private_keys_to_open() -> None:
    """Sealed to one pair's ML-KEM key and another's X25519 key, it opens for neither."""
    for mixed in (ML_KEM + keys.halves(OTHER.public)[1], keys.halves(OTHER.public)[0] + X25519):
        sealed = keys.seal(b"a share", mixed, b"bound")
        for pair in (PAIR, OTHER):
            with pytest.raises(ProtocolError, match="does not open"):
                pair.unseal(sealed, b"bound")


@dataclass(frozen=True)
class Bound:
    what: bytes = b"shares"
    sender: int = 1
    recipient: int = 2
    terms: bytes = bytes(32)

    def to_bytes(self) -> bytes:
        return keys.bound_to(self.what, self.sender, self.recipient, self.terms)


ELSEWHERE = {
    "purpose": Bound(what=b"contribution"),
    "sender": Bound(sender=3),
    "recipient": Bound(recipient=3),
    "direction": Bound(sender=2, recipient=1),
    "wide index": Bound(sender=0x0100, recipient=0x0002),
    "round": Bound(terms=bytes(31) + b"\1"),
}


@pytest.mark.parametrize("change", ELSEWHERE)
def test_what_is_sealed_for_one_round_purpose_and_pair_opens_for_no_other(change: str) -> None:
    sealed = keys.seal(b"a share", PAIR.public, Bound().to_bytes())
    assert PAIR.unseal(sealed, Bound().to_bytes()) == b"a share"
    with pytest.raises(ProtocolError, match="does not open"):
        PAIR.unseal(sealed, ELSEWHERE[change].to_bytes())
    with pytest.raises(ProtocolError, match="does not open"):
        OTHER.unseal(sealed, Bound().to_bytes())


# --- derivations


def test_every_purpose_pair_and_round_has_a_key_of_its_own() -> None:
    secret, other, terms = os.urandom(32), os.urandom(32), os.urandom(32)
    made = [
        keys.contribution(secret, 1, 2, terms),
        keys.contribution(secret, 2, 1, terms),
        keys.contribution(secret, 1, 3, terms),
        keys.contribution(secret, 1, 258, terms),  # 0x0102: indices are of fixed width
        keys.contribution(other, 1, 2, terms),
        keys.contribution(secret, 1, 2, os.urandom(32)),
        keys.self_mask_key(secret, 1, terms),
        keys.self_mask_key(secret, 2, terms),
        keys.self_mask_key(other, 1, terms),
        keys.self_mask_key(secret, 1, os.urandom(32)),
        keys.mask_key(secret, None, 1, 2, terms),
        keys.mask_key(None, secret, 1, 2, terms),
        keys.mask_key(secret, None, 1, 3, terms),
        keys.mask_key(secret, None, 1, 2, os.urandom(32)),
        keys.mask_key(secret, other, 1, 2, terms),
        keys.mask_key(other, secret, 1, 2, terms),
        keys.mask_key(secret, secret, 1, 2, terms),
    ]
    assert len(set(made)) == len(made)
    assert {len(each) for each in made} == {32}


@pytest.mark.parametrize(("lower", "higher"), [(2, 1), (1, 1)])
def test_a_mask_is_between_two_sites_in_order(lower: int, higher: int) -> None:
    with pytest.raises(ValueError, match="two sites in order"):
        keys.mask_key(bytes(32), bytes(32), lower, higher, bytes(32))


def test_there_is_no_mask_between_sites_that_did_not_draw_each_other() -> None:
    with pytest.raises(ValueError, match="one of which drew the other"):
        keys.mask_key(None, None, 1, 2, bytes(32))


@given(
    st.lists(
        st.tuples(st.binary(max_size=40), site_indices, site_indices, bytes32, bytes32),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_a_commitment_is_to_one_value_for_one_purpose_pair_and_round(
    two: list[tuple[bytes, int, int, bytes, bytes]],
) -> None:
    one, other = (keys.commitment(*each) for each in two)
    assert one != other
    assert len(one) == 32
    assert keys.commitment(*two[0]) == one


def test_a_commitments_purpose_cannot_be_shifted_into_its_value() -> None:
    long, short = b"self mask" + bytes(1), b"self mask"
    assert keys.commitment(long, 1, 2, bytes(32), bytes(32)) != keys.commitment(short, 1, 2, bytes(33), bytes(32))
