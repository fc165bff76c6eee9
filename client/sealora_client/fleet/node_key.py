"""The P-384 key with which a site's node signs its requests to the server."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealora_common.config import SMALL, read_file, why_not
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.identity import read_passphrase
from sealora_common.identity.encoded_keys import private_key_from_openssh


def load_node_key(path: Path) -> EllipticCurvePrivateKey:
    """Reads a node key that `sealora-site init` wrote, asking for the passphrase if it is locked.

    Raises:
        StorageError: the file is missing, is not a P-384 key in OpenSSH form, others may read it, or the passphrase is
            wrong or cannot be asked for.
    """
    try:
        content = read_file(path, SMALL.longest)
        exposed = path.stat().st_mode & 0o077
    except FileNotFoundError:
        raise StorageError(f"{path}: the node key is missing: restore it from a backup or enrol anew") from None
    except (OSError, UnreadableError) as error:
        raise StorageError(f"{path}: the node key cannot be read ({why_not(error)}): correct that") from None
    if exposed:
        raise StorageError(f"{path}: others can read this private key: chmod 600 it, and replace it if they did")
    key = _open(path, content)
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP384R1):
        raise StorageError(f"{path}: not a P-384 private key: restore it from a backup or enrol anew")
    return key


def public_half(key: EllipticCurvePrivateKey) -> str:
    """The public key in OpenSSH form, as a card and a roster name it."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _open(path: Path, content: bytes) -> object:
    try:
        return private_key_from_openssh(content)
    except TypeError:  # it is locked
        pass
    except ValueError:
        raise StorageError(f"{path}: it is no private key: restore it from a backup or enrol anew") from None
    try:
        return private_key_from_openssh(content, read_passphrase(path))
    except (ValueError, TypeError):
        raise StorageError(f"{path}: cannot be opened, the passphrase is wrong: correct that") from None
