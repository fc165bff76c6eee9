"""Keys from PEM and OpenSSH text: the one place that knows what the library raises for text that holds none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    SSHPrivateKeyTypes,
    SSHPublicKeyTypes,
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)


def private_key_from_pem(content: bytes, passphrase: bytes | None = None) -> PrivateKeyTypes:
    """The private key of any kind in a PEM block.

    Raises:
        ValueError: it holds none that this library knows, or the passphrase is wrong.
        TypeError: it is locked and there is no passphrase, or the other way round.
    """
    with _one_error():
        return load_pem_private_key(content, passphrase)


def private_key_from_openssh(content: bytes, passphrase: bytes | None = None) -> SSHPrivateKeyTypes:
    """The private key of any kind in an OpenSSH file.

    Raises:
        ValueError, TypeError: as `private_key_from_pem`.
    """
    with _one_error():
        return load_ssh_private_key(content, passphrase)


def public_key_from_openssh(text: str) -> SSHPublicKeyTypes:
    """The public key of any kind in a line as OpenSSH writes it.

    Raises:
        ValueError: it holds none that this library knows.
    """
    with _one_error():
        return load_ssh_public_key(text.encode())


@contextmanager
def _one_error() -> Iterator[None]:
    try:
        yield
    except (UnsupportedAlgorithm, NotImplementedError) as error:  # an unknown kind or curve; a compressed point
        raise ValueError(f"a key of a kind that cannot be used ({error})") from None
