"""A party's long-term Ed25519 identity (RFC 8032), its file, and the passphrase that locks the file."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sealora_common.entropy import Entropy
from sealora_common.errors import StorageError
from sealora_common.storage import write_atomically

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
PASSPHRASE_FILE = "SEALORA_PASSPHRASE_FILE"  # noqa: S105 (the name of a variable)
"""Environment variable that names the file holding the passphrase (a systemd credential or a mounted secret)."""


@dataclass(frozen=True)
class Identity:
    """A named signing key. The private half never leaves the party; it is not shown by `repr`."""

    name: str
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def create(cls, name: str, entropy: Entropy) -> Identity:
        """A fresh identity."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(entropy.bytes(32)))

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._private.sign(message)

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        """Writes the private key as PKCS#8 PEM, readable by its owner alone, encrypted if there is a passphrase.

        Raises:
            StorageError: the file could not be written.
        """
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption(passphrase))
        write_atomically(path, pem, mode=0o600)

    @classmethod
    def load(cls, name: str, path: Path) -> Identity:
        """Reads a private key that `save` wrote, asking for the passphrase if it is encrypted.

        Raises:
            StorageError: the file is missing, is not an Ed25519 private key, others may read it, or the passphrase
                is wrong or cannot be asked for.
        """
        try:
            pem = path.read_bytes()
            exposed = path.stat().st_mode & 0o077
        except FileNotFoundError:
            raise StorageError(f"{path}: the private key is missing: restore it from a backup or enrol anew") from None
        except OSError as error:
            raise StorageError(f"{path}: the private key cannot be read ({error.strerror}): correct that") from None
        if exposed:
            raise StorageError(f"{path}: others can read this private key: chmod 600 it, and replace it if they did")
        passphrase = read_passphrase(path) if b"ENCRYPTED" in pem else None
        try:
            key = load_pem_private_key(pem, password=passphrase)
        except (ValueError, TypeError):
            why = "the passphrase is wrong" if passphrase else "it is no private key"
            raise StorageError(f"{path}: cannot be opened, {why}: correct that or restore it from a backup") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise StorageError(f"{path}: not an Ed25519 private key: restore it from a backup")
        return cls(name, key)


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` was made by the holder of `public_key` (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def encryption(passphrase: bytes | None) -> KeySerializationEncryption:
    """How a private key is written: encrypted under `passphrase`, or as it is."""
    return BestAvailableEncryption(passphrase) if passphrase else NoEncryption()


def read_passphrase(path: Path) -> bytes:
    """The passphrase of the key at `path`: from the file the environment names, else asked for at the terminal.

    Raises:
        StorageError: there is neither.
    """
    named = os.environ.get(PASSPHRASE_FILE)
    if named is not None:
        try:
            return Path(named).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise StorageError(f"{named}: the passphrase file cannot be read ({error.strerror}): correct it") from None
    if sys.stdin.isatty():
        return getpass.getpass(f"Passphrase of {path}: ").encode()
    raise StorageError(
        f"{path} is locked by a passphrase and there is no terminal to ask at: name a file that holds it in "
        f"{PASSPHRASE_FILE}"
    )
