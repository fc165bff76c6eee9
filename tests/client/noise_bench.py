"""Tests of fit for integer noise, exact probabilities, and a keystream that says what it is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray
from scipy import stats

Cdf = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def fit(draws: NDArray[np.int64], cdf: Cdf, std: float, *, bins: int = 400) -> float:
    """The chi-square test's p-value that the draws have P(draw <= k) = cdf(k).

    Bins are single integers where `bins` quantiles of a Gaussian of `std` allow it, and runs of integers elsewhere;
    those with fewer than 10 expected draws join their neighbours.
    """
    edges = np.unique(np.rint(std * stats.norm.ppf(np.linspace(0, 1, bins + 1)[1:-1])))
    below = cdf(edges)
    expected = len(draws) * np.diff(np.concatenate([[0.0], below, [1.0]]))
    observed = np.diff(np.concatenate([[0], np.searchsorted(np.sort(draws), edges, side="right"), [len(draws)]]))
    expected, observed = _joined(expected, observed)
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return float(stats.chi2.sf(statistic, len(expected) - 1))


def even_fit(classes: NDArray[np.int64], count: int) -> float:
    """The chi-square test's p-value that classes 0..count - 1 are equally likely."""
    observed = np.bincount(classes, minlength=count)
    return float(stats.chisquare(observed).pvalue)


def rounded_normal_cdf(std: float) -> Cdf:
    """P(round(N) <= k) for N from N(0, std^2)."""
    return lambda k: stats.norm.cdf((k + 0.5) / std)


def skellam_cdf(variance: float) -> Cdf:
    """P(K <= k), summed from SciPy's probabilities, for variances below 2^20; above, the rounded normal's.

    At V = 2^20 the two are closer than 1e-6 everywhere, which 10^7 draws cannot tell.
    """
    if variance >= 2**20:
        return rounded_normal_cdf(math.sqrt(variance))
    outermost = math.ceil(12 * math.sqrt(variance)) + 20
    support = np.arange(-outermost, outermost + 1)
    total = np.cumsum(stats.skellam.pmf(support, variance / 2, variance / 2))
    return lambda k: total[np.clip(k.astype(np.int64) + outermost, 0, 2 * outermost)]


def correlations(draws: NDArray[np.int64], std: float, lag: int) -> tuple[float, float]:
    """Serial correlation at `lag` of the draws and of their squares, in standard errors, of noise near Gaussian."""
    unit = draws / std
    pairs = len(unit) - lag
    squares = unit**2 - np.mean(unit**2)
    return (
        float(np.sum(unit[:-lag] * unit[lag:]) / math.sqrt(pairs)),
        float(np.sum(squares[:-lag] * squares[lag:]) / math.sqrt(pairs) / np.mean(squares**2)),
    )


@cache
def exact_skellam(value: int, variance: float) -> Any:
    """P(K = value) to 500 bits, from mpmath's Bessel function."""
    with mpmath.workprec(500):
        return mpmath.exp(-mpmath.mpf(variance)) * mpmath.besseli(abs(value), mpmath.mpf(variance))


@cache
def exact_tail(first: int, variance: float) -> Any:
    """P(K >= first), up to 2^-350, for a small variance."""
    if first < 1:
        with mpmath.workprec(500):
            return 1 - exact_tail(1 - first, variance)
    with mpmath.workprec(500):
        total, value = mpmath.mpf(0), first
        while (term := exact_skellam(value, variance)) > mpmath.mpf(2) ** -400:
            total, value = total + term, value + 1
        return total


class ScriptedStream:
    """Gives out the words it was made with, and fails when asked for more."""

    def __init__(self, words: Sequence[int]) -> None:
        self._words = list(words)
        self.taken = 0

    def words(self, count: int) -> NDArray[np.uint64]:
        taken = self._words[self.taken : self.taken + count]
        assert len(taken) == count, "the script is over"
        self.taken += count
        return np.array(taken, dtype=np.uint64)


def words_of(numerator: int, bits: int, first: int) -> list[int]:
    """What follows the first `first` bits of a number of `bits` bits, as words of 64 bits."""
    count = (bits - first) // 64
    assert first + 64 * count == bits
    return [numerator >> (64 * (count - 1 - index)) & (2**64 - 1) for index in range(count)]


def _joined(
    expected: NDArray[np.float64], observed: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    starts, total = [0], 0.0
    for index, value in enumerate(expected):
        if total >= 10:
            starts.append(index)
            total = 0.0
        total += value
    if total < 10 and len(starts) > 1:
        starts.pop()
    return np.add.reduceat(expected, starts), np.add.reduceat(observed, starts)
