from __future__ import annotations

import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from sealora_common.entropy import SeededEntropy, SystemEntropy
from sealora_common.errors import StorageError
from sealora_common.identity import (
    PASSPHRASE_FILE,
    Identity,
    encryption,
    keyfile,
    read_public_key,
    verify,
    write_public_key,
)
from sealora_common.identity.hybrid import SigningKey
from sealora_common.storage.durable import write_atomically


class Counted:
    """Entropy that says which draw it is."""

    def __init__(self) -> None:
        self.draws = 0

    def bytes(self, count: int, /) -> bytes:
        self.draws += 1
        return bytes([self.draws]) * count


def test_an_identity_is_of_two_seeds_drawn_one_after_the_other():
    entropy = Counted()
    identity = Identity.create("site", entropy)
    assert entropy.draws == 2
    assert identity.public_key == SigningKey.from_seeds(bytes([1]) * 32, bytes([2]) * 32).public_key


def test_an_identity_s_signature_is_its_key_s():
    identity, other = (Identity.create(name, SeededEntropy(name)) for name in ("a", "b"))
    assert verify(identity.public_key, identity.sign(b"m"), b"m")
    assert not verify(other.public_key, identity.sign(b"m"), b"m")


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


def pem(key, passphrase: bytes | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption(passphrase))


ED25519, MLDSA = Ed25519PrivateKey.from_private_bytes(bytes(32)), MLDSA65PrivateKey.from_seed_bytes(bytes(32))
OF_ANOTHER_KIND = {
    "another curve": pem(X25519PrivateKey.from_private_bytes(bytes(32))),
    "another curve first": pem(X25519PrivateKey.from_private_bytes(bytes(32))) + pem(MLDSA),
    "the halves in the wrong order": pem(MLDSA) + pem(ED25519),
    "the second half alone": pem(MLDSA),
    "the first half twice": pem(ED25519) * 2,
    "a smaller ML-DSA": pem(ED25519) + pem(MLDSA44PrivateKey.from_seed_bytes(bytes(32))),
    "a key too many": pem(ED25519) + pem(MLDSA) + pem(ED25519),
}


@pytest.mark.parametrize("case", OF_ANOTHER_KIND)
def test_a_file_of_other_keys_is_refused(tmp_path, case):
    path = tmp_path / "identity.pem"
    write_atomically(path, OF_ANOTHER_KIND[case], mode=0o600)
    with pytest.raises(StorageError, match="not an Ed25519 and an ML-DSA-65 private key: restore it from a backup"):
        Identity.load("site", path)


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_an_identity_of_before_is_refused_with_what_to_do(tmp_path, monkeypatch, passphrase):
    path = tmp_path / "identity.pem"
    write_atomically(path, pem(ED25519, passphrase), mode=0o600)
    write_atomically(tmp_path / "passphrase", b"correct horse\n")
    monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "passphrase"))
    with pytest.raises(StorageError, match="which signed by Ed25519 alone: move it away and enrol anew"):
        Identity.load("site", path)


def test_both_halves_are_locked_by_the_passphrase(tmp_path, monkeypatch):
    identity = Identity.create("site", SystemEntropy())
    path = tmp_path / "identity.pem"
    identity.save(path, b"correct horse")
    assert path.read_bytes().count(b"BEGIN ENCRYPTED PRIVATE KEY") == 2
    for text in ("wrong", "correct horse"):
        write_atomically(tmp_path / "passphrase", text.encode())
        monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "passphrase"))
        if text == "wrong":
            with pytest.raises(StorageError, match="the passphrase is wrong"):
                Identity.load("site", path)
        else:
            assert Identity.load("site", path).public_key == identity.public_key


@pytest.mark.parametrize(("at_a_terminal", "opens"), [(True, True), (False, False)])
def test_a_passphrase_is_asked_for_at_a_terminal_and_nowhere_else(tmp_path, monkeypatch, at_a_terminal, opens):
    """A service has nobody to ask, and would wait for ever or fail in words of its own."""
    identity, path = Identity.create("a", SystemEntropy()), tmp_path / "identity.pem"
    identity.save(path, b"secret")
    monkeypatch.delenv(PASSPHRASE_FILE, raising=False)
    monkeypatch.setattr(keyfile.sys.stdin, "isatty", lambda: at_a_terminal, raising=False)
    monkeypatch.setattr(keyfile.getpass, "getpass", lambda prompt: "secret")
    if opens:
        assert Identity.load("a", path).public_key == identity.public_key
        return
    with pytest.raises(StorageError, match=f"there is no terminal to ask at: name a file .* in {PASSPHRASE_FILE}"):
        Identity.load("a", path)


def test_a_public_key_s_file_is_read_as_it_was_written(tmp_path):
    identity = Identity.create("server", SystemEntropy())
    write_public_key(tmp_path / "identity.pub", identity.public_key)
    assert read_public_key(tmp_path / "identity.pub") == identity.public_key


@pytest.mark.parametrize("content", [None, b"", b"abc", b"ab" * 32, b"\xff\xfe"])
def test_a_public_key_s_file_that_is_none_is_named_in_one_sentence(tmp_path, content):
    path = tmp_path / "identity.pub"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=r"cannot be read|no public key") as caught:
        read_public_key(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


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
