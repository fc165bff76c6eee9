"""Symmetric Skellam noise of small variance: inversion of the distribution function, with bits as needed."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sealora_client.training.noise.keystream import Keystream
from sealora_client.training.noise.lazy_uniform import LazyUniform
from sealora_client.training.noise.probability import skellam_reach

_BLOCK = 1 << 14  # draws at a time
_WORD_BITS = 64
_GUARD_BITS = 64  # of working precision: interval sums over 2^15 terms widen by far fewer


def fill_from_table(draws: NDArray[np.int64], variance: float, stream: Keystream) -> None:
    """Fills `draws`, shape (n,), with independent symmetric Skellam draws, exactly distributed.

    A draw is the least k with U < P(K <= k). 64 bits of U settle it unless they are those of some P(K <= k), or lie
    beyond the table's ends.

    Args:
        draws: written over.
        variance: above 0; the table has about 20 entries a standard deviation.
        stream: where the uniforms come from.
    """
    lower, last, outermost = _words_table(variance)
    for start in range(0, len(draws), _BLOCK):
        block = draws[start : start + _BLOCK]
        words = stream.words(len(block))
        passed = np.searchsorted(lower, words, side="right")
        np.subtract(passed, outermost, out=block)
        for index in np.flatnonzero(words <= last[passed - 1]):
            block[index] = _decide(LazyUniform(stream, int(words[index]), _WORD_BITS), variance)


@lru_cache(maxsize=8)
def _words_table(variance: float) -> tuple[NDArray[np.uint64], NDArray[np.uint64], int]:
    """For k from -m to m - 1: words from the first are not surely below P(K <= k); up to the second, not surely above.

    m, the third, is the first k with P(K >= k) < 2^-64. So the first word of all and the last are never sure.
    """
    lower, upper = _distribution(variance, _WORD_BITS)
    excess = sum(1 for threshold in upper[: len(upper) // 2] if threshold <= 1) - 1
    kept = slice(excess, len(upper) - excess)
    last = [threshold - 1 for threshold in upper[kept]]
    return np.array(lower[kept], dtype=np.uint64), np.array(last, dtype=np.uint64), len(last) // 2


def _decide(uniform: LazyUniform, variance: float) -> int:
    """The least k with uniform < P(K <= k), with as many more bits as it takes."""
    while True:
        uniform.extend()
        lower, upper = _distribution(variance, uniform.bits)
        passed = bisect_right(lower, uniform.numerator)
        if upper[passed - 1] <= uniform.numerator:
            return passed - len(lower) // 2


def _distribution(variance: float, bits: int) -> tuple[list[int], list[int]]:
    """Bounds from below and from above on 2^bits * P(K <= k), for k from -m to m - 1 with P(|K| >= m) < 2^-bits."""
    lower_tails, upper_tails = _tails(variance, bits)
    whole = 1 << bits
    lower = lower_tails[::-1] + [whole - tail for tail in upper_tails]
    upper = upper_tails[::-1] + [whole - tail for tail in lower_tails]
    return lower, upper


def _tails(variance: float, bits: int) -> tuple[list[int], list[int]]:
    """Bounds on 2^bits * P(K >= k) for k = 1..m, in interval arithmetic on integers.

    The ratios r_k = I_{k+1}(V) / I_k(V) follow from r_{k-1} = 1 / (2 k / V + r_k) downwards (DLMF 10.29.1), which
    shrinks errors; r_m is somewhere in 0..1. Their products are the probabilities up to a factor, and the factor is
    that all probabilities sum to 1, of which less than 2^-precision lies beyond m.
    """
    precision = bits + _GUARD_BITS
    one = 1 << precision
    outermost = skellam_reach(variance, precision)
    numerator, denominator = variance.as_integer_ratio()

    low, high = 0, one
    ratios = []
    for k in range(outermost, 0, -1):
        step = (k * denominator << (precision + 1)) // numerator
        low, high = one * one // (step + 1 + high), one * one // (step + low) + 1
        ratios.append((low, high))

    lows, highs = [one], [one]
    for low, high in reversed(ratios):
        lows.append(lows[-1] * low >> precision)
        highs.append((highs[-1] * high >> precision) + 1)
    all_low, all_high = 2 * sum(lows) - one, 2 * sum(highs) - one

    lower, upper = [], []
    sum_low = sum_high = 0
    for low, high in zip(lows[:0:-1], highs[:0:-1], strict=True):
        sum_low += low
        sum_high += high
        lower.append((sum_low * (one - 1) << bits) // (all_high << precision))
        upper.append(((sum_high << precision) + all_low << bits) // (all_low << precision) + 1)
    return lower[::-1], upper[::-1]
