"""The noise is Gaussian, as far as a million draws can tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sealora_client.training.keystream import Keystream
from sealora_client.training.noise import gaussian
from sealora_common.entropy import SeededEntropy, SystemEntropy

MILLION = 1_000_000


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    return gaussian(SeededEntropy("noise test"), MILLION, 1.0)


def test_a_million_draws_fit_the_normal_distribution(draws: np.ndarray) -> None:
    assert stats.kstest(draws, "norm").pvalue > 1e-3


def test_each_half_of_the_box_muller_pairs_fits(draws: np.ndarray) -> None:
    # Cosines and sines of the same radius lie in the two halves of a block.
    assert stats.kstest(draws[: 1 << 14], "norm").pvalue > 1e-3
    assert stats.kstest(draws[1 << 14 : 1 << 15], "norm").pvalue > 1e-3


def test_moments_are_those_of_the_normal_distribution(draws: np.ndarray) -> None:
    # Standard errors of the first four sample moments: sqrt of 1, 2, 15, 96 over n.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(draws**power) - moment) < 5 * math.sqrt(variance / MILLION)


def test_the_tail_is_not_thin(draws: np.ndarray) -> None:
    for threshold in (2.0, 3.0, 4.0):
        expected = MILLION * 2 * stats.norm.sf(threshold)
        assert abs((np.abs(draws) > threshold).sum() - expected) < 5 * math.sqrt(expected)


def test_draws_are_uncorrelated_at_the_lags_of_pairs_and_blocks(draws: np.ndarray) -> None:
    for lag in (1, 2, 1 << 14, 1 << 15):
        assert abs(np.mean(draws[:-lag] * draws[lag:])) < 5 / math.sqrt(MILLION - lag)
        assert abs(np.mean(draws[:-lag] ** 2 * draws[lag:] ** 2) - 1) < 5 * math.sqrt(8 / (MILLION - lag))


@pytest.mark.parametrize("size", [0, 1, 2, 3, (1 << 15) - 1, 1 << 15, (1 << 15) + 1])
def test_any_size_is_filled(size: int) -> None:
    noise = gaussian(SeededEntropy(size), size, 2.0)
    assert noise.shape == (size,)
    assert noise.dtype == np.float64
    assert noise.all()


def test_the_standard_deviation_scales_the_draws() -> None:
    unit = gaussian(SeededEntropy("scale"), 1000, 1.0)
    assert np.allclose(gaussian(SeededEntropy("scale"), 1000, 2.5), 2.5 * unit, rtol=1e-14)
    assert not gaussian(SeededEntropy("scale"), 1000, 0.0).any()


@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf])
def test_an_impossible_standard_deviation_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match="standard deviation"):
        gaussian(SystemEntropy(), 3, std)


def test_the_smallest_uniform_gives_a_finite_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keystream, "integers", lambda self, count: np.zeros(count, dtype=np.uint64))
    noise = gaussian(SystemEntropy(), 2, 1.0)
    assert np.isfinite(noise).all()
    assert float(np.abs(noise).max()) == pytest.approx(math.sqrt(2 * 53 * math.log(2)))


def test_two_calls_on_one_entropy_share_no_draw() -> None:
    entropy = SeededEntropy("two calls")
    assert not np.intersect1d(gaussian(entropy, 1000, 1.0), gaussian(entropy, 1000, 1.0)).size
