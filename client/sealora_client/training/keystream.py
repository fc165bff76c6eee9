"""Uniform numbers from a cryptographic stream: AES-256 in counter mode under a fresh key.

One draw of 32 bytes from the site's entropy keys a whole sample or a whole step's noise, which is then as fast
as the hardware's AES. Each stream's key is used once and dropped.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from sealora_common.entropy import Entropy

UNIFORM_BITS = 53
"""Random bits of one uniform number: as many as a float64 holds exactly."""


class Keystream:
    """A stream of random integers under one key of 32 bytes drawn from `entropy`."""

    def __init__(self, entropy: Entropy) -> None:
        self._stream = Cipher(algorithms.AES(entropy.bytes(32)), modes.CTR(bytes(16))).encryptor()

    def integers(self, count: int) -> NDArray[np.uint64]:
        """The next `count` integers, uniform over [0, 2^53), shape (count,)."""
        words = np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8")
        return words >> np.uint64(64 - UNIFORM_BITS)
