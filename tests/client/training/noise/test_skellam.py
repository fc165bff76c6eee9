"""Skellam noise is exactly that: in distribution, in sums of shares, and in every rejection."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_bench import ScriptedStream, correlations, even_fit, exact_skellam, fit, rounded_normal_cdf, skellam_cdf
from numpy.typing import NDArray

from sealora_client.training.noise import skellam as module
from sealora_client.training.noise.lazy_uniform import LazyUniform
from sealora_client.training.noise.probability import rounded_gaussian_probability, skellam_probability, skellam_tail
from sealora_client.training.noise.skellam import skellam
from sealora_common.entropy import SeededEntropy, SystemEntropy

LARGE = 2.0**20


# --- the distribution


@pytest.mark.parametrize(
    "variance", [0.01, 0.5, 4.0, 37.5, 1000.0, 2.0**20 - 1, 2.0**20, 2.0**31 / 7, 2.0**40, 2.0**44]
)
def test_draws_fit(variance: float) -> None:
    std = math.sqrt(variance)
    draws = skellam(SeededEntropy("fit", str(variance)), 300_000, variance)
    assert fit(draws, skellam_cdf(variance), std, bins=30_000 if variance < 2000 else 3000) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("variance", [0.5, 37.5, 4096.0, 2.0**20 - 1, 2.0**20, 2.0**30, 2.0**40])
def test_ten_million_draws_fit(variance: float) -> None:
    std = math.sqrt(variance)
    draws = skellam(SeededEntropy("many", str(variance)), 10_000_000, variance)
    assert fit(draws, skellam_cdf(variance), std, bins=100_000) > 1e-3


@pytest.fixture(scope="module", params=[37.5, LARGE, 2.0**40])
def draws(request: pytest.FixtureRequest) -> tuple[NDArray[np.int64], float]:
    return skellam(SeededEntropy("skellam", str(request.param)), 1_000_000, request.param), request.param


def test_moments_are_those_of_the_skellam_distribution(draws: tuple[NDArray[np.int64], float]) -> None:
    values, variance = draws
    unit = values / math.sqrt(variance)
    # The fourth moment is 3 + 1/V; standard errors are the Gaussian's, sqrt of 1, 2, 15, 96 over n, and a tenth.
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3 + 1 / variance, 96)):
        assert abs(np.mean(unit**power) - moment) < 5.5 * math.sqrt(spread / len(unit))


def test_draws_are_uncorrelated(draws: tuple[NDArray[np.int64], float]) -> None:
    values, variance = draws
    for lag in (1, 2, module._BLOCK // 2, module._BLOCK):
        assert max(map(abs, correlations(values, math.sqrt(variance), lag))) < 5


def test_the_lowest_bits_are_even() -> None:
    values = skellam(SeededEntropy("bits"), 300_000, 2.0**40)
    assert even_fit(values & 1, 2) > 1e-3
    assert even_fit(values & 255, 256) > 1e-3


@pytest.mark.parametrize("shares", [[37.5 / 3] * 3, [30.0, 7.0, 0.5], [0.25] * 40, [300.0, 700.0]])
def test_shares_add_up_to_the_whole(shares: list[float]) -> None:
    total = sum(shares)
    summed = sum(skellam(SeededEntropy("share", index), 300_000, share) for index, share in enumerate(shares))
    assert fit(np.asarray(summed), skellam_cdf(total), math.sqrt(total), bins=30_000) > 1e-3


@pytest.mark.parametrize("sites", [3, 7])
def test_large_shares_add_up_to_the_whole(sites: int) -> None:
    total = 2.0**40
    summed = sum(skellam(SeededEntropy("share", site), 300_000, total / sites) for site in range(sites))
    assert fit(np.asarray(summed), skellam_cdf(total), math.sqrt(total), bins=3000) > 1e-3


# --- the tests of fit see what is wrong


def poisson_difference(first: float, second: float, size: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(1)
    return generator.poisson(first, size) - generator.poisson(second, size)


@pytest.mark.parametrize("variance", [0.5, 4.0, 37.5, 1000.0])
def test_poisson_numbers_of_a_wrong_mean_do_not_pass(variance: float) -> None:
    mean, cdf, std = variance / 2, skellam_cdf(variance), math.sqrt(variance)
    assert fit(poisson_difference(mean, mean, 300_000), cdf, std, bins=100) > 1e-3
    assert fit(poisson_difference(mean * 1.03, mean * 1.03, 300_000), cdf, std, bins=100) < 1e-9
    assert fit(poisson_difference(mean + 0.02 * std, mean - 0.02 * std, 300_000), cdf, std, bins=100) < 1e-9


def test_a_share_left_out_does_not_pass() -> None:
    summed = sum(skellam(SeededEntropy("share", site), 300_000, 10.0) for site in range(29))
    assert fit(np.asarray(summed), skellam_cdf(300.0), math.sqrt(300), bins=3000) < 1e-9


def test_a_rounded_gaussian_does_not_pass_at_a_small_variance() -> None:
    rounded = np.rint(np.random.default_rng(1).normal(0, 2, 20_000)).astype(np.int64)
    assert fit(rounded, rounded_normal_cdf(2), 2, bins=3000) > 1e-3
    assert fit(rounded, skellam_cdf(4.0), 2, bins=3000) < 1e-5


# --- rejection from the rounded Gaussian


@pytest.mark.parametrize("variance", [LARGE, 3.3e6, 2.0**30, 2.0**44])
def test_the_bound_on_the_ratio_holds(variance: float) -> None:
    std = math.sqrt(variance)
    for deviations in (0.0, 0.4, 1.0, 1.6, 2.0, 2.6, 3.0, 4.5, 6.0, 7.0):
        k = math.floor(deviations * std)
        (skellam_low, _), (gauss_low, _) = (
            skellam_probability(k, k, variance, 200),
            rounded_gaussian_probability(k, std, 200),
        )
        log_ratio = float(skellam_low / gauss_low - 1)
        assert abs(log_ratio) <= module._log_ratio_bound(k / std, variance)
        # Leading terms: the ratio really has this size, so it is the right distribution that is bounded.
        leading = (deviations**4 / 24 - deviations**2 * 7 / 24 + 1 / 6) / variance
        assert abs(log_ratio - leading) < (0.01 + 0.001 * deviations**4) / variance + 2.0**-50 * (1 + deviations**2)


@pytest.mark.parametrize("variance", [LARGE, 2.0**26, 2.0**40, 2.0**60])
def test_acceptance_and_tail_fit_under_one_uniform(variance: float) -> None:
    hat = module._Hat.over(variance)
    largest = math.exp(module._log_ratio_bound(7.0, variance))
    assert hat.body == math.floor(7 * hat.std)
    assert hat.scale * (Fraction(largest) + hat.tail(96)[1]) <= 1
    assert Fraction(hat.certain, 1 << 32) * Fraction(largest) <= hat.scale
    assert 1 - hat.certain / 2**32 < 260 / variance + 2.0**-31  # and it rarely rejects


def outcome(draw: int, coin: Fraction, hat: module._Hat) -> tuple[int | None, int]:
    """What a trial ends in, and how many words of the coin it took; the coin's bits to 1000 are the script."""
    bits = 32 + 64 * 15
    numerator = math.floor(coin * (1 << bits))
    words = [numerator >> (64 * index) & (2**64 - 1) for index in reversed(range(15))]
    stream = ScriptedStream(words)
    return module._outcome(draw, LazyUniform(stream, numerator >> (bits - 32), 32), hat, stream), stream.taken


def exact_acceptance(k: int, hat: module._Hat) -> Fraction:
    """scale * p(k) / g(k) to about 300 bits, from mpmath's Bessel and normal functions."""
    with mpmath.workprec(500):
        half = mpmath.mpf(0.5)
        gauss_exact = mpmath.ncdf((k + half) / hat.std) - mpmath.ncdf((k - half) / hat.std)
        ratio = mpmath.floor(mpmath.ldexp(exact_skellam(k, hat.variance) / gauss_exact, 300))
    return hat.scale * Fraction(int(ratio), 1 << 300)


@pytest.mark.parametrize("deviations", [0.0, 1.0, -2.5, 5.0, 6.99])
@pytest.mark.parametrize("exponent", [34, 60, 110, 180])
def test_coins_on_both_sides_of_the_acceptance_are_told_apart(deviations: float, exponent: int) -> None:
    hat = module._Hat.over(LARGE)
    k = round(deviations * hat.std)
    acceptance = exact_acceptance(k, hat)
    accepted, words = outcome(k, acceptance - Fraction(1, 1 << exponent), hat)
    rejected, _ = outcome(k, acceptance + Fraction(1, 1 << exponent), hat)
    assert (accepted, rejected) == (k, None)
    assert words >= math.ceil((exponent - 32) / 64)


def test_a_draw_beyond_the_body_is_always_rejected() -> None:
    hat = module._Hat.over(2.0**40)
    for draw in (hat.body + 1, -hat.body - 1, 2 * hat.body):
        assert outcome(draw, Fraction(0), hat)[0] is None
        assert outcome(draw, Fraction(1, 2), hat)[0] is None
    assert outcome(-hat.body, Fraction(1, 2), hat)[0] == -hat.body


def test_draws_beyond_the_body_and_large_coins_go_to_the_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    hat = module._Hat.over(LARGE)
    decided: list[tuple[int, int]] = []
    script = np.array([0, hat.body, hat.body + 1, -hat.body, -hat.body - 1, 5, 6])
    coins = np.array([0, 0, 0, 0, 0, hat.certain - 1, hat.certain], dtype=np.uint32)

    class Coins(ScriptedStream):
        def half_words(self, count: int) -> NDArray[np.uint32]:
            return coins[:count]

    monkeypatch.setattr(module, "fill_rounded_gaussian", lambda block, *_: np.copyto(block, script))
    monkeypatch.setattr(module, "_finish", lambda draw, coin, *_: decided.append((draw, coin)) or 0)
    module._fill_by_rejection(np.zeros(7, dtype=np.int64), hat, Coins([]))
    assert decided == [(hat.body + 1, 0), (-hat.body - 1, 0), (6, hat.certain)]


def from_tail(position: Fraction, draw: int, hat: module._Hat, sign_word: int) -> int | None:
    """What a trial ends in whose coin stands at `position` of P(|K| > body), counted from 1 downwards."""
    bits = 32 + 64 * 4
    numerator = math.floor((1 - hat.scale * position) * (1 << bits))
    first, *more = [numerator >> (64 * index) & (2**64 - 1) for index in reversed(range(4))]
    stream = ScriptedStream([first, sign_word, *more])
    return module._outcome(draw, LazyUniform(stream, numerator >> 256, 32), hat, stream)


@pytest.mark.parametrize("sign_word", [0, 1])
@pytest.mark.parametrize("fraction", [0.999, 0.5, 1e-9])
@pytest.mark.parametrize("draw", [0, 8 * 1024])
def test_the_largest_coins_give_the_tail_by_inversion(sign_word: int, fraction: float, draw: int) -> None:
    hat = module._Hat.over(LARGE)
    position = hat.tail(200)[0] * Fraction(fraction)
    drawn = from_tail(position, draw, hat, sign_word)
    assert drawn is not None
    magnitude = drawn * (1 - 2 * sign_word)
    assert magnitude > hat.body
    assert 2 * skellam_tail(magnitude + 1, LARGE, 200)[0] < position < 2 * skellam_tail(magnitude, LARGE, 200)[1]


@pytest.mark.slow
@pytest.mark.parametrize("beyond", [1, 900])
def test_coins_on_both_sides_of_a_tail_threshold_are_told_apart(beyond: int) -> None:
    hat = module._Hat.over(LARGE)
    threshold = 2 * skellam_tail(hat.body + beyond + 1, LARGE, 300)[0]  # P(|K| > body + beyond)
    step = Fraction(1, 1 << 150)
    assert from_tail(threshold + step, 0, hat, 0) == hat.body + beyond
    assert from_tail(threshold - step, 0, hat, 0) == hat.body + beyond + 1


@pytest.mark.slow
def test_rejection_as_a_whole_gives_a_small_variance_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """At V = 4 with a body of 2 deviations every branch is frequent, and a Gaussian would not pass (see above)."""
    variance = 4.0
    monkeypatch.setattr(module, "_LARGE", 0.0)
    monkeypatch.setattr(module, "_BODY", 2.0)
    for name in ("skellam_probability", "rounded_gaussian_probability", "skellam_tail"):  # few different arguments
        monkeypatch.setattr(module, name, cache(getattr(module, name)))
    for k in range(5):  # what the proof says of large variances holds here too
        (p, _), (g, _) = skellam_probability(k, k, variance, 96), rounded_gaussian_probability(k, 2.0, 96)
        assert abs(math.log(p / g)) <= module._log_ratio_bound(k / 2, variance)
    draws = skellam(SeededEntropy("small variance"), 20_000, variance)
    assert fit(draws, skellam_cdf(variance), 2.0, bins=3000) > 1e-3


# --- the interface


def test_known_answers() -> None:
    assert skellam(SeededEntropy("known"), 6, 3.0).tolist() == [-1, -2, 1, -3, -2, 1]
    assert skellam(SeededEntropy("known"), 6, 2.0**20).tolist() == [971, -1143, 795, -1089, -1622, 294]
    assert skellam(SeededEntropy("known"), 6, 2.0**40).tolist() == [
        993817, -1170637, 814204, -1115493, -1660717, 300721
    ]  # fmt: skip


@pytest.mark.parametrize("variance", [1000.0, 2.0**60])
def test_two_calls_on_one_entropy_differ(variance: float) -> None:
    entropy = SeededEntropy("two calls")
    first, second = skellam(entropy, 500, variance), skellam(entropy, 500, variance)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.25
    assert (first != second).mean() > 0.9


@pytest.mark.parametrize("size", [0, 1, 2, 3, (1 << 14) - 1, 1 << 14, (1 << 14) + 1])
@pytest.mark.parametrize("variance", [5000.0, 2.0**40])
def test_any_size_is_filled(size: int, variance: float) -> None:
    noise = skellam(SeededEntropy(size), size, variance)
    assert noise.shape == (size,)
    assert noise.dtype == np.int64
    assert np.count_nonzero(noise == 0) <= size // 50


@settings(max_examples=60)
@given(exponent=st.floats(-7, 60), size=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_draws_of_any_variance_stay_within_its_scale(exponent: float, size: int, seed: int) -> None:
    variance = 2.0**exponent
    noise = skellam(SeededEntropy(seed), size, variance)
    assert noise.dtype == np.int64
    assert (np.abs(noise) <= 12 * math.sqrt(variance) + 20).all()
    assert size < 20 or variance < 4 or np.abs(noise).max() > math.sqrt(variance) / 4


@pytest.mark.parametrize("variance", [0, 0.0, 5e-324, 1e-300])
def test_next_to_no_variance_gives_zeros(variance: float) -> None:
    assert not skellam(SystemEntropy(), 1000, variance).any()


@pytest.mark.parametrize("variance", [-1.0, math.nan, math.inf, 2.0**60 * 1.001])
def test_an_impossible_variance_is_refused(variance: float) -> None:
    with pytest.raises(ValueError, match="variance"):
        skellam(SystemEntropy(), 3, variance)
