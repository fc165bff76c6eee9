"""A randomised Hadamard rotation: spreads a vector's energy evenly, so that a narrow ring loses less of it.

A few large coordinates would force a wide range on all. After y = H D x / sqrt(n), with D a diagonal of random signs
and H the Walsh-Hadamard matrix, every coordinate of a block is nearly Gaussian with the block's mean energy
(Suresh, Yu, Kumar, McMahan, "Distributed Mean Estimation with Limited Communication", ICML 2017, section 3). The
rotation is linear and orthonormal, so the sum of rotated vectors is rotated back at once and L2 norms are kept.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096
"""Coordinates rotated together, a power of two; vectors are padded with zeros to a multiple of it."""


def rotated_length(length: int) -> int:
    """Length of the rotated vector: `length` rounded up to whole blocks."""
    return -(-length // BLOCK) * BLOCK


def rotate(values: NDArray[np.float64], seed: str) -> NDArray[np.float64]:
    """Rotates `values`, shape (n,), under the public `seed`; returns shape (rotated_length(n),)."""
    padded = np.zeros(rotated_length(len(values)))
    padded[: len(values)] = values
    padded *= _signs(len(padded), seed)
    return _hadamard(padded)


def unrotate(values: NDArray[np.float64], seed: str, length: int) -> NDArray[np.float64]:
    """The inverse of `rotate`; returns shape (length,)."""
    restored: NDArray[np.float64] = _hadamard(values) * _signs(len(values), seed)
    return restored[:length]


def _signs(count: int, seed: str) -> NDArray[np.float64]:
    key = int.from_bytes(hashlib.sha256(b"sealora rotation v1\n" + seed.encode()).digest()[:16], "big")
    words = np.random.Philox(key=key).random_raw(-(-count // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8))[:count]
    return np.where(bits, -1.0, 1.0)


def _hadamard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orthonormal Walsh-Hadamard transform of each block, its own inverse."""
    blocks = values.reshape(-1, BLOCK).copy()
    half = 1
    while half < BLOCK:
        pairs = blocks.reshape(len(blocks), BLOCK // (2 * half), 2, half)
        difference = pairs[:, :, 0] - pairs[:, :, 1]
        pairs[:, :, 0] += pairs[:, :, 1]
        pairs[:, :, 1] = difference
        half *= 2
    blocks *= BLOCK**-0.5
    return blocks.reshape(-1)
