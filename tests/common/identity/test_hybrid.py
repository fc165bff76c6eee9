from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, check_public_key, key_parts, verify
from sealora_common.identity.hybrid import LABEL, SigningKey
from sealora_common.identity.text import key_from_text, signature_from_text

VECTORS = Path(__file__).parent / "vectors"
KNOWN = json.loads((VECTORS / "identity.json").read_text(encoding="utf-8"))
SEEDS = [bytes.fromhex(seed) for seed in KNOWN["seeds"]]
KEY = SigningKey.from_seeds(*SEEDS)
STRANGER = SigningKey.from_seeds(bytes([1]) * 32, bytes([2]) * 32)
MESSAGE = KNOWN["message"].encode()


def test_lengths_are_those_of_rfc_8032_and_fips_204():
    assert PUBLIC_KEY_BYTES == 32 + 1952 == len(KEY.public_key)
    assert SIGNATURE_BYTES == 64 + 3309 == len(KEY.sign(b""))


def test_a_known_key_of_two_seeds():
    assert KEY.public_key == key_from_text(KNOWN["public_key"])
    assert hashlib.sha256(KEY.public_key).hexdigest() == KNOWN["public_key_sha256"]
    ed25519, mldsa = key_parts(KEY.public_key)
    assert ed25519 == Ed25519PrivateKey.from_private_bytes(SEEDS[0]).public_key().public_bytes_raw()
    assert mldsa == MLDSA65PrivateKey.from_seed_bytes(SEEDS[1]).public_key().public_bytes_raw()


def test_a_known_signature_holds_and_its_ed25519_half_is_made_again():
    signature = signature_from_text(KNOWN["signature"])
    assert verify(KEY.public_key, signature, MESSAGE)
    assert KEY.sign(MESSAGE)[:64] == signature[:64]


@given(st.binary(max_size=100), st.integers(0, SIGNATURE_BYTES - 1), st.integers(1, 255))
def test_a_signature_holds_for_its_message_and_key_alone(message, position, change):
    signature = KEY.sign(message)
    assert verify(KEY.public_key, signature, message)
    assert not verify(STRANGER.public_key, signature, message)
    assert not verify(KEY.public_key, signature, message + b"\x00")
    damaged = bytearray(signature)
    damaged[position] ^= change
    assert not verify(KEY.public_key, bytes(damaged), message)


def halves(key: SigningKey, message: bytes = MESSAGE) -> tuple[bytes, bytes]:
    signature = key.sign(message)
    return signature[:64], signature[64:]


FORGED = {
    "the Ed25519 half is the stranger's": halves(STRANGER)[0] + halves(KEY)[1],
    "the ML-DSA half is the stranger's": halves(KEY)[0] + halves(STRANGER)[1],
    "the Ed25519 half is of another message": halves(KEY, b"another")[0] + halves(KEY)[1],
    "the ML-DSA half is of another message": halves(KEY)[0] + halves(KEY, b"another")[1],
    "the Ed25519 half is missing": halves(KEY)[1],
    "the ML-DSA half is missing": halves(KEY)[0],
    "the Ed25519 half is zeros": bytes(64) + halves(KEY)[1],
    "the ML-DSA half is zeros": halves(KEY)[0] + bytes(3309),
    "the halves change places": halves(KEY)[1] + halves(KEY)[0],
    "something follows": KEY.sign(MESSAGE) + b"\x00",
    "the halves were made over the bare message": KEY.ed25519.sign(MESSAGE) + KEY.mldsa.sign(MESSAGE, LABEL),
    "the ML-DSA half has no context": KEY.ed25519.sign(LABEL + MESSAGE) + KEY.mldsa.sign(LABEL + MESSAGE),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_signature_with_one_half_forged_does_not_hold(case):
    assert not verify(KEY.public_key, FORGED[case], MESSAGE)


@pytest.mark.parametrize("mixed", [(0, 1), (1, 0)])
def test_a_key_with_one_half_another_s_does_not_verify(mixed):
    keys = KEY.public_key, STRANGER.public_key
    public_key = key_parts(keys[mixed[0]])[0] + key_parts(keys[mixed[1]])[1]
    assert not verify(public_key, KEY.sign(MESSAGE), MESSAGE)


def test_a_half_taken_out_is_no_signature_of_its_scheme():
    ed25519, mldsa = key_parts(KEY.public_key)
    first, second = halves(KEY)
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(ed25519).verify(first, MESSAGE)
    for message in (MESSAGE, LABEL + MESSAGE):
        with pytest.raises(InvalidSignature):
            MLDSA65PublicKey.from_public_bytes(mldsa).verify(second, message)


@pytest.mark.parametrize("length", [0, 31, 32, 64, PUBLIC_KEY_BYTES - 1, PUBLIC_KEY_BYTES + 1])
def test_a_key_or_signature_of_another_length_verifies_nothing(length):
    assert not verify(bytes(length), KEY.sign(b"m"), b"m")
    assert not verify(KEY.public_key, bytes(length), b"m")
    with pytest.raises(ValueError, match=f"a public key has 1984 bytes, this has {length}"):
        check_public_key(bytes(length))


SMALL = (1).to_bytes(32, "little")


def test_a_key_of_small_order_is_none_and_verifies_nothing():
    """R = S = 0's encoding verifies any message under it, as far as Ed25519 goes."""
    public_key = SMALL + key_parts(KEY.public_key)[1]
    forged = SMALL + bytes(32) + KEY.mldsa.sign(LABEL + MESSAGE, LABEL)
    Ed25519PublicKey.from_public_bytes(SMALL).verify(forged[:64], LABEL + MESSAGE)  # the library lets it pass
    assert not verify(public_key, forged, MESSAGE)
    with pytest.raises(ValueError, match="no canonical public key"):
        check_public_key(public_key)


def test_the_private_halves_are_not_shown():
    assert repr(KEY) == "SigningKey()"


@given(st.binary(min_size=32, max_size=32))
def test_the_ml_dsa_half_is_made_of_its_seed_as_fips_204_has_it(seed):
    """Algorithm 6: the key begins with the first 32 bytes of SHAKE256(seed, k = 6, l = 5)."""
    mldsa = key_parts(SigningKey.from_seeds(bytes(32), seed).public_key)[1]
    assert mldsa[:32] == hashlib.shake_256(seed + bytes([6, 5])).digest(32)
