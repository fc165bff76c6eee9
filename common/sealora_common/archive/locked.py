"""Files of an archive that are of use only with its passphrase: private keys, and what is as confidential.

    key  = scrypt(passphrase, salt, N = 2^17, r = 8, p = 1), 32 bytes             (RFC 7914)
    file = nonce || AES-256-GCM(key, nonce, content, associated data = its path)  (NIST SP 800-38D)

Salt and nonces are random. The path as associated data keeps one file from being read in another's place.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import StorageError

SALT_BYTES = 16
_NONCE_BYTES = 12
_TAG_BYTES = 16
_COST = 2**17


class ArchiveKey:
    """The key of one archive's locked files.

    Args:
        passphrase: what a person remembers; not empty.
        salt: 16 bytes, of the archive.
    """

    def __init__(self, passphrase: bytes, salt: bytes) -> None:
        self._cipher = AESGCM(Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(passphrase))

    def lock(self, path: str, content: bytes) -> bytes:
        """The file as it lies in the archive: 28 bytes longer."""
        nonce = SystemEntropy().bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, path.encode())

    def unlock(self, path: str, stored: bytes) -> bytes:
        """The file.

        Raises:
            StorageError: the passphrase is another, or the file was changed.
        """
        try:
            if len(stored) < _NONCE_BYTES + _TAG_BYTES:
                raise InvalidTag
            return self._cipher.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], path.encode())
        except InvalidTag:
            raise StorageError(
                f"{path} of the archive cannot be unlocked: the passphrase is wrong, or the archive was changed"
            ) from None
