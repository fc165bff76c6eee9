from __future__ import annotations

import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.entropy import SeededEntropy, SystemEntropy
from sealora_common.errors import StorageError
from sealora_common.identity import Identity, verify
from sealora_common.storage import write_atomically


class Fixed:
    """RFC 8032, section 7.1, test 3: a secret key as entropy."""

    def bytes(self, count: int, /) -> bytes:
        assert count == 32
        return bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")


def test_a_known_answer():
    identity = Identity.create("site", Fixed())
    public = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert identity.public_key == public
    assert identity.sign(b"\xaf\x82") == signature
    assert verify(public, signature, b"\xaf\x82")


@given(st.binary(max_size=100), st.integers(0, 63), st.integers(1, 255))
def test_a_signature_holds_for_its_message_and_key_alone(message, position, change):
    identity, other = (Identity.create(name, SeededEntropy(name)) for name in ("a", "b"))
    signature = identity.sign(message)
    assert verify(identity.public_key, signature, message)
    assert not verify(other.public_key, signature, message)
    assert not verify(identity.public_key, signature, message + b"\x00")
    damaged = bytearray(signature)
    damaged[position] ^= change
    assert not verify(identity.public_key, bytes(damaged), message)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_or_signature_of_another_length_verifies_nothing(length):
    identity = Identity.create("a", SystemEntropy())
    assert not verify(bytes(length), identity.sign(b"m"), b"m")
    assert not verify(identity.public_key, bytes(length), b"m")


def test_a_saved_identity_is_the_same_and_its_owner_s_alone(tmp_path):
    identity = Identity.create("site", SystemEntropy())
    path = tmp_path / "sub" / "identity.pem"
    identity.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity.load("site", path).public_key == identity.public_key


def test_the_private_half_is_not_shown():
    identity = Identity.create("site", SystemEntropy())
    assert repr(identity) == "Identity(name='site')"


def test_two_identities_differ():
    assert len({Identity.create("site", SystemEntropy()).public_key for _ in range(10)}) == 10


def test_a_missing_key_is_not_made_up(tmp_path):
    with pytest.raises(StorageError, match="key is missing: restore it from a backup or enrol anew"):
        Identity.load("site", tmp_path / "identity.pem")
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "identity.pem"
    pem = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(path, pem, mode=0o600)
    with pytest.raises(StorageError, match="not an Ed25519 private key"):
        Identity.load("site", path)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_is_named_in_one_sentence(tmp_path, content):
    path = tmp_path / "identity.pem"
    write_atomically(path, content, mode=0o600)
    with pytest.raises(StorageError) as caught:
        Identity.load("site", path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
