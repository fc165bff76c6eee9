"""Random bits from a cryptographic stream: AES-256 in counter mode under a fresh key.

One draw of 32 bytes from the site's entropy keys a whole sample or a whole step's noise, which is then as fast
as the hardware's AES. Each stream's key is used once and dropped.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from sealora_common.entropy import Entropy

KEY_BYTES = 32
UNIFORM_BITS = 53
"""Random bits of one uniform number: as many as a float64 holds exactly."""

_ZEROS = memoryview(bytes(1 << 17))  # what is encrypted, a piece at a time; a piece fits the processor's cache


class Keystream:
    """A stream of random bits under one key of `KEY_BYTES` drawn from `entropy`."""

    def __init__(self, entropy: Entropy) -> None:
        self._stream = Cipher(algorithms.AES(entropy.bytes(KEY_BYTES)), modes.CTR(bytes(16))).encryptor()

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words of 64 random bits, shape (count,)."""
        return self._bytes(8 * count).view("<u8")

    def half_words(self, count: int) -> NDArray[np.uint32]:
        """The next `count` words of 32 random bits, shape (count,)."""
        return self._bytes(4 * count).view("<u4")

    def integers(self, count: int) -> NDArray[np.uint64]:
        """The next `count` integers, uniform over [0, 2^53), shape (count,)."""
        return self.words(count) >> np.uint64(64 - UNIFORM_BITS)

    def _bytes(self, count: int) -> NDArray[np.uint8]:
        buffer = np.empty(count + 15, dtype=np.uint8)  # update_into asks for a cipher block to spare
        for start in range(0, count, len(_ZEROS)):
            self._stream.update_into(_ZEROS[: count - start], buffer[start:].data)
        return buffer[:count]
