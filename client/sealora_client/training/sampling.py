"""Poisson sampling: the sampling that the privacy accounting assumes, done as assumed.

Shuffled batches of a fixed size are often accounted for as if they were Poisson samples; they cost more privacy
than that (Chua et al. 2024, arXiv:2403.17673). Here batches vary in size, and can be empty.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sealora_client.training.noise.keystream import UNIFORM_BITS, Keystream
from sealora_common.entropy import Entropy


def poisson_batch(entropy: Entropy, population: int, rate: float) -> NDArray[np.int64]:
    """Draws one batch: each index joins with probability `rate`, independently of all others.

    The probability is `rate` rounded down to a multiple of 2^-53, so never above the rate that is accounted for.

    Args:
        entropy: draws 32 bytes, which key a stream for this batch alone.
        population: number of records, 0 or more.
        rate: 0 to 1.

    Returns:
        int64 indices below `population`, ascending, any number of them.

    Raises:
        ValueError: rate is not a probability.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"expected a probability, got {rate=}")
    threshold = np.uint64(math.floor(math.ldexp(rate, UNIFORM_BITS)))
    return np.flatnonzero(Keystream(entropy).integers(population) < threshold).astype(np.int64)


def choose(entropy: Entropy, population: int, count: int) -> NDArray[np.int64]:
    """A uniformly random subset of `count` out of `population` indices, ascending; all of them if there are fewer.

    Args:
        entropy: draws 32 bytes, unless all are taken.
        population: number of indices.
        count: size of the subset.
    """
    if population <= count:
        return np.arange(population, dtype=np.int64)
    # The smallest of independent uniform numbers stand at uniformly random places.
    order = np.argsort(Keystream(entropy).integers(population), kind="stable")
    return np.sort(order[:count]).astype(np.int64)
