"""A party's long-term Ed25519 identity (RFC 8032) and its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sealora_common.entropy import Entropy
from sealora_common.errors import StorageError
from sealora_common.storage import write_atomically

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32


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

    def save(self, path: Path) -> None:
        """Writes the private key as PKCS#8 PEM, readable by its owner alone.

        Raises:
            StorageError: the file could not be written.
        """
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_atomically(path, pem, mode=0o600)

    @classmethod
    def load(cls, name: str, path: Path) -> Identity:
        """Reads a private key that `save` wrote.

        Raises:
            StorageError: the file is missing, or is not an Ed25519 private key.
        """
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            raise StorageError(f"{path}: the site's identity is missing: restore it or enrol the site anew") from None
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(f"{path}: not a readable private key ({error}): restore it from a backup") from None
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
