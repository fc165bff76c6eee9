"""Small variances: the table is the distribution function, and close uniforms are told apart."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from noise_bench import ScriptedStream, exact_tail, words_of

from sealora_client.training.noise import skellam_table as module
from sealora_client.training.noise.probability import skellam_tail

SMALL = [1e-30, 0.01, 1.0, 37.5, 300.0]


def threshold(k: int, variance: float, bits: int) -> int:
    """P(K <= k) in units of 2^-bits, rounded down, from mpmath's Bessel function."""
    with mpmath.workprec(500):
        return int(mpmath.floor(mpmath.ldexp(exact_tail(-k, variance), bits)))


@pytest.mark.parametrize("variance", SMALL)
@pytest.mark.parametrize("bits", [64, 192])
def test_the_distribution_holds_the_exact_thresholds(variance: float, bits: int) -> None:
    lower, upper = module._distribution(variance, bits)
    outermost = len(lower) // 2
    for k in {-outermost, -2, -1, 0, 1, math.floor(math.sqrt(variance)), outermost - 1}:
        if -outermost <= k < outermost:
            exact = threshold(k, variance, bits)
            assert lower[k + outermost] <= exact < upper[k + outermost]
            assert upper[k + outermost] - lower[k + outermost] <= 2
    assert lower == sorted(lower)
    assert upper == sorted(upper)


def test_the_largest_table_agrees_with_the_fourier_sums() -> None:
    variance = 2.0**20 - 1
    lower, upper = module._distribution(variance, 64)
    outermost = len(lower) // 2
    for first in (1, 10, 1000, 5000, 9000):
        low, high = (bound * 2**64 for bound in skellam_tail(first, variance, 128))
        assert lower[outermost - first] <= high
        assert low <= upper[outermost - first]
        assert upper[outermost - first] - lower[outermost - first] <= 2


@pytest.mark.parametrize("variance", SMALL)
def test_the_words_table_ends_where_a_word_does(variance: float) -> None:
    lower, last, outermost = module._words_table(variance)
    assert len(lower) == len(last) == 2 * outermost
    assert (lower[0], last[0]) == (0, 0)
    assert lower[-1] == last[-1] == 2**64 - 1
    assert (np.diff(lower) >= 0).all()


@pytest.mark.parametrize("variance", [0.01, 1.0, 37.5, 300.0])
@pytest.mark.parametrize("deviations", [-6.0, -1.0, 0.0, 2.0])
@pytest.mark.parametrize("depth", [100, 170])
def test_bits_on_both_sides_of_a_threshold_are_told_apart(variance: float, deviations: float, depth: int) -> None:
    k = round(deviations * math.sqrt(variance))
    exact = threshold(k, variance, 64 * 4)
    step = 1 << (256 - depth)
    for numerator, expected in ((exact - step, k), (exact + step, k + 1)):
        draws = np.zeros(1, dtype=np.int64)
        stream = ScriptedStream([numerator >> 192, *words_of(numerator, 256, 64)])
        module.fill_from_table(draws, variance, stream)
        assert draws.tolist() == [expected]
        assert stream.taken >= math.ceil(depth / 64)  # fewer bits cannot tell


@pytest.mark.parametrize("variance", [1e-30, 0.01, 37.5])
def test_uniforms_beyond_the_first_word_reach_into_the_tails(variance: float) -> None:
    whole = 2**64 - 1
    for script in ([0, 1, 99], [0, 0, 5], [whole, whole - 1, 0], [whole, whole, 0]):
        draws = np.zeros(1, dtype=np.int64)
        module.fill_from_table(draws, variance, ScriptedStream(script))
        k = int(draws[0])
        numerator = script[0] << 128 | script[1] << 64 | script[2]
        assert threshold(k - 1, variance, 192) <= numerator < threshold(k, variance, 192)
        assert abs(k) > 8 * math.sqrt(variance)


def test_ordinary_words_are_settled_by_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_decide", lambda *_: pytest.fail("a word far from all thresholds was in doubt"))
    words = [threshold(k, 37.5, 64) + side for k in range(-20, 20) for side in (-1, 1)]
    draws = np.zeros(len(words), dtype=np.int64)
    module.fill_from_table(draws, 37.5, ScriptedStream(words))
    assert draws.tolist() == [k + after for k in range(-20, 20) for after in (0, 1)]
