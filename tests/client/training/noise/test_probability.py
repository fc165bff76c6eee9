"""Bounds on probabilities hold the exact values, from mpmath's Bessel and normal functions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import pytest
from noise_bench import exact_skellam, exact_tail

from sealora_client.training.noise.probability import (
    Bounds,
    rounded_gaussian_probability,
    skellam_probability,
    skellam_reach,
    skellam_tail,
)

VARIANCES = [0.01, 0.9, 37.5, 300.0, 2.0**20]


def holds(bounds: Bounds, exact: Any, bits: int) -> bool:
    with mpmath.workprec(500):
        low, high = (mpmath.mpf(bound.numerator) / bound.denominator for bound in bounds)
    return bool(low <= exact <= high) and bounds[1] - bounds[0] <= Fraction(4, 1 << bits)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("bits", [20, 96, 200])
@pytest.mark.parametrize("deviations", [0.0, 0.7, 3.0, 8.0])
def test_skellam_probabilities_hold_the_exact_ones(variance: float, bits: int, deviations: float) -> None:
    value = round(deviations * variance**0.5)
    for k in {value, -value, value + 1}:
        assert holds(skellam_probability(k, k, variance, bits), exact_skellam(k, variance), bits)


@pytest.mark.parametrize("variance", VARIANCES[:-1])
@pytest.mark.parametrize(("first", "last"), [(0, 3), (-5, 2), (4, 40), (-200, 200), (7, 7)])
def test_skellam_probabilities_of_intervals_are_sums(variance: float, first: int, last: int) -> None:
    with mpmath.workprec(500):
        exact = exact_tail(first, variance) - exact_tail(last + 1, variance)
    assert holds(skellam_probability(first, last, variance, 128), exact, 128)


@pytest.mark.parametrize("variance", VARIANCES[:-1])
@pytest.mark.parametrize("first", [0, 1, 9, 150])
def test_skellam_tails_are_sums(variance: float, first: int) -> None:
    assert holds(skellam_tail(first, variance, 128), exact_tail(first, variance), 128)


@pytest.mark.parametrize("variance", [1e-300, *VARIANCES[:-1]])
@pytest.mark.parametrize("bits", [20, 64, 192])
def test_less_than_promised_lies_beyond_the_reach(variance: float, bits: int) -> None:
    distance = skellam_reach(variance, bits)
    with mpmath.workprec(300):
        assert 2 * exact_tail(distance, variance) <= mpmath.mpf(2) ** -bits


@pytest.mark.parametrize("variance", [2.0**20, 2.0**44, 2.0**60])
def test_the_reach_is_not_far_off_for_large_variances(variance: float) -> None:
    assert 13.2 < skellam_reach(variance, 128) / variance**0.5 < 14.5


@pytest.mark.parametrize("std", [0.3, 5.0, 2.0**20, 2.0**30])
@pytest.mark.parametrize("deviations", [0.0, 1.3, -4.0, 7.0])
def test_rounded_gaussian_probabilities_hold_the_exact_ones(std: float, deviations: float) -> None:
    value = round(deviations * std)
    with mpmath.workprec(400):
        exact = mpmath.ncdf((value + mpmath.mpf(0.5)) / std) - mpmath.ncdf((value - mpmath.mpf(0.5)) / std)
        for bits in (20, 160):
            assert holds(rounded_gaussian_probability(value, std, bits), exact, bits)
