"""A party's long-term identity, its file, and the passphrase that locks the file; and a public key's file."""

from __future__ import annotations

import getpass
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from sealora_common.config import SMALL, read_file, why_not
from sealora_common.entropy import Entropy
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.identity.encoded_keys import private_key_from_pem
from sealora_common.identity.hybrid import SEED_BYTES, SigningKey
from sealora_common.identity.text import key_fingerprint, key_from_text, key_pin, key_to_text
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.own_files import PUBLIC_FILE

PASSPHRASE_FILE = "SEALORA_PASSPHRASE_FILE"  # noqa: S105 (the name of a variable)
"""Environment variable that names the file holding the passphrase (a systemd credential or a mounted secret)."""
_BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----\n?", re.DOTALL)


@dataclass(frozen=True)
class Identity:
    """A named signing key. The private half never leaves the party; it is not shown by `repr`."""

    name: str
    _private: SigningKey = field(repr=False)

    @classmethod
    def create(cls, name: str, entropy: Entropy) -> Identity:
        """A fresh identity, of two seeds that are drawn one after the other: Ed25519's, then ML-DSA's."""
        return cls(name, SigningKey.from_seeds(entropy.bytes(SEED_BYTES), entropy.bytes(SEED_BYTES)))

    @property
    def public_key(self) -> bytes:
        """The 1984-byte public key."""
        return self._private.public_key

    @property
    def public_key_text(self) -> str:
        """The public key as it stands in cards and rosters: base64."""
        return key_to_text(self.public_key)

    @property
    def pin(self) -> str:
        """What stands for the public key in files, see `key_pin`."""
        return key_pin(self.public_key)

    @property
    def fingerprint(self) -> str:
        """What people compare, see `key_fingerprint`."""
        return key_fingerprint(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """A 3373-byte signature of `message`."""
        return self._private.sign(message)

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        """Writes both private keys as PKCS#8 PEM, one after the other, encrypted if there is a passphrase.

        The file is readable by its owner alone.

        Raises:
            StorageError: the file could not be written.
        """
        keys: tuple[Ed25519PrivateKey | MLDSA65PrivateKey, ...] = (self._private.ed25519, self._private.mldsa)
        pem = b"".join(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption(passphrase)) for key in keys)
        write_atomically(path, pem, mode=0o600)

    @classmethod
    def load(cls, name: str, path: Path) -> Identity:
        """Reads the private keys that `save` wrote, asking for the passphrase if they are encrypted.

        Raises:
            StorageError: the file is missing, does not hold an Ed25519 and an ML-DSA-65 private key, others may read
                it, or the passphrase is wrong or cannot be asked for.
        """
        try:
            pem = read_file(path, SMALL.longest)
            exposed = path.stat().st_mode & 0o077
        except FileNotFoundError:
            raise StorageError(f"{path}: the private key is missing: restore it from a backup or enrol anew") from None
        except (OSError, UnreadableError) as error:
            raise StorageError(f"{path}: the private key cannot be read ({why_not(error)}): correct that") from None
        if exposed:
            raise StorageError(f"{path}: others can read this private key: chmod 600 it, and replace it if they did")
        passphrase = read_passphrase(path) if b"ENCRYPTED" in pem else None
        match [_key(path, block, passphrase) for block in _BLOCK.findall(pem)]:
            case [Ed25519PrivateKey() as ed25519, MLDSA65PrivateKey() as mldsa]:
                return cls(name, SigningKey(ed25519, mldsa))
            case [Ed25519PrivateKey()]:
                raise StorageError(
                    f"{path}: an identity of an earlier version, which signed by Ed25519 alone: move it away and enrol "
                    "anew, so that it signs by ML-DSA-65 as well"
                )
            case []:
                raise StorageError(
                    f"{path}: cannot be opened, it is no private key: correct that or restore it from a backup"
                )
        raise StorageError(f"{path}: not an Ed25519 and an ML-DSA-65 private key: restore it from a backup")


def _key(path: Path, block: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
    try:
        return private_key_from_pem(block, passphrase)
    except (ValueError, TypeError):
        why = "the passphrase is wrong" if passphrase else "it is no private key"
        raise StorageError(f"{path}: cannot be opened, {why}: correct that or restore it from a backup") from None


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
            return read_file(Path(named), SMALL.longest).rstrip(b"\r\n")
        except (OSError, UnreadableError) as error:
            raise StorageError(f"{named}: the passphrase file cannot be read ({why_not(error)}): correct it") from None
    if sys.stdin.isatty():
        return getpass.getpass(f"Passphrase of {path}: ").encode()
    raise StorageError(
        f"{path} is locked by a passphrase and there is no terminal to ask at: name a file that holds it in "
        f"{PASSPHRASE_FILE}"
    )


def write_public_key(path: Path, public_key: bytes) -> None:
    """Writes a public key to a file of its own, one line of base64: it is too long to be typed or pasted.

    Raises:
        StorageError: the file could not be written.
    """
    write_atomically(path, key_to_text(public_key).encode() + b"\n", mode=PUBLIC_FILE)


def read_public_key(path: Path) -> bytes:
    """The 1984-byte public key in the file that `write_public_key` wrote.

    Raises:
        StorageError: the file cannot be read, or holds none.
    """
    try:
        return key_from_text(read_file(path, SMALL.longest).decode("ascii").strip())
    except (OSError, UnreadableError) as error:
        raise StorageError(f"{path}: the public key cannot be read ({why_not(error)}): correct the path") from None
    except ValueError as error:
        raise StorageError(f"{path}: no public key ({error}): ask for the file again") from None
