"""Gaussian noise from a cryptographic generator.

What it is: float64 Box-Muller over 53-bit uniforms of an AES-256-CTR stream. What it is not: exactly Gaussian.
Draws lie on a floating-point lattice and end at 8.57 standard deviations (beyond which a Gaussian has 1e-17 of
its mass), and the sum of gradients is itself rounded to float64. Mironov (CCS 2012, "On significance of the
least significant bits for differential privacy") turns such gaps into an attack on whoever sees the noisy sum in
full precision. Here it is seen only after division, an optimiser step in float32, subtraction from the start and
rounding to the sealing ring, which removes the bits that attack reads, but is no proof. A later version rounds
the clipped sum to a grid, counts that rounding in the sensitivity, and adds an exactly sampled discrete Gaussian
(Canonne, Kamath & Steinke 2020, arXiv:2004.00010).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sealora_client.training.keystream import UNIFORM_BITS, Keystream
from sealora_common.entropy import Entropy

_BLOCK = 1 << 15  # draws at a time: the working arrays stay in the processor's cache


def gaussian(entropy: Entropy, size: int, std: float) -> NDArray[np.float64]:
    """Independent draws from N(0, std^2) under a key drawn from `entropy` for this call.

    Args:
        entropy: draws 32 bytes, whatever the size.
        size: number of draws.
        std: standard deviation; 0 gives zeros.

    Returns:
        float64, shape (size,).

    Raises:
        ValueError: std is negative or not finite.
    """
    if not (math.isfinite(std) and std >= 0):
        raise ValueError(f"expected a finite standard deviation of 0 or more, got {std=}")
    stream = Keystream(entropy)
    draws = np.empty(size, dtype=np.float64)
    for start in range(0, size, _BLOCK):
        block = draws[start : start + _BLOCK]
        pairs = (len(block) + 1) // 2
        uniforms = stream.integers(2 * pairs).astype(np.float64)
        uniforms += 1.0  # (0, 1]: the logarithm below must not meet 0
        uniforms *= 2.0**-UNIFORM_BITS
        radius, angle = uniforms[:pairs], uniforms[pairs:]
        np.log(radius, out=radius)
        radius *= -2.0
        np.sqrt(radius, out=radius)
        radius *= std
        angle *= 2.0 * math.pi
        np.multiply(radius, np.cos(angle), out=block[:pairs])
        odd = len(block) - pairs
        np.multiply(radius[:odd], np.sin(angle[:odd]), out=block[pairs:])
    return draws
