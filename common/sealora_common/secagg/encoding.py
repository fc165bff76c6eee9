"""Real numbers to ring words and back: clip to a public range, round stochastically, and leave room for the sum.

Each of n parties contributes an integer in 0..L with L = floor((2^w - 1) / n), so the sum of n cannot wrap.
Stochastic rounding keeps the sum unbiased; its error per party is below one step, 2R / L, with variance at most
a quarter of a step squared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from sealora_common.entropy import Entropy
from sealora_common.secagg.ring import Segment, Words

_BLOCK = 1 << 16  # coordinates encoded at a time: temporaries stay in the cache


@dataclass(frozen=True)
class FixedPoint:
    """An encoding of [low, high] into a segment's ring, for sums of at most `parties` vectors.

    >>> FixedPoint(-1.0, 1.0, bits=16, parties=3).levels
    21845
    """

    low: float
    high: float
    bits: int
    parties: int

    def __post_init__(self) -> None:
        if not self.low < self.high or self.levels < 1:
            raise ValueError(f"Expected low < high and parties < 2^bits, got {self}")

    @property
    def levels(self) -> int:
        """L, the largest integer one party contributes."""
        return ((1 << self.bits) - 1) // self.parties

    @property
    def step(self) -> float:
        """The value of one level: an upper bound of one party's rounding error in a coordinate."""
        return (self.high - self.low) / self.levels

    def encode(self, values: NDArray[np.floating], entropy: Entropy) -> tuple[Words, int]:
        """Encodes `values`, shape (n,).

        Args:
            values: finite floats.
            entropy: where the rounding's randomness comes from (a fresh key is drawn for this vector).

        Returns:
            Words of the ring's container dtype, shape (n,), and how many values lay outside the range and were
            clipped to it.

        Raises:
            ValueError: a value is not finite.
        """
        words = np.empty(len(values), dtype=Segment(0, self.bits).dtype)
        coins = Cipher(algorithms.AES256(entropy.bytes(32)), modes.CTR(bytes(16))).encryptor()
        clipped = 0
        for start in range(0, len(values), _BLOCK):
            block = values[start : start + _BLOCK].astype(np.float64)
            if not np.isfinite(block).all():
                raise ValueError("Expected finite values to encode")
            clipped += int(np.count_nonzero((block < self.low) | (block > self.high)))
            np.clip(block, self.low, self.high, out=block)
            block -= self.low
            block *= self.levels / (self.high - self.low)
            uniform = np.frombuffer(coins.update(bytes(4 * len(block))), dtype="<u4") * 2.0**-32
            # floor(x + u) is ceil(x) with probability frac(x): unbiased. The top level needs the minimum only
            # because of floating point.
            rounded = np.minimum(np.floor(block + uniform), self.levels)
            words[start : start + _BLOCK] = rounded.astype(words.dtype)
        return words, clipped

    def decode_sum(self, words: Words, count: int) -> NDArray[np.float64]:
        """Decodes the sum of `count` encoded vectors: float64 of the words' shape."""
        return words.astype(np.float64) * ((self.high - self.low) / self.levels) + count * self.low
