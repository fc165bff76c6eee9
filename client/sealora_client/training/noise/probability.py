"""Probabilities of the rounded Gaussian and of the symmetric Skellam distribution, as closely as asked.

Symmetric Skellam: K = A - B with A and B Poisson of mean V/2 each. It has variance V, characteristic function
exp(-V (1 - cos t)) and P(K = k) = exp(-V) I_k(V), I_k the modified Bessel function (Skellam 1946).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from mpmath import MPContext

Bounds = tuple[Fraction, Fraction]
"""A number that is not below the first and not above the second."""

_GUARD_BITS = 64  # of working precision: what is done below loses far fewer, as mpmath's functions are good to its end


def rounded_gaussian_probability(value: int, std: float, bits: int) -> Bounds:
    """Bounds on Phi((value + 1/2) / std) - Phi((value - 1/2) / std), 2^(1 - bits) apart at most."""
    context = _context(bits)
    unit = context.sqrt(2) * std
    above, below = (context.erf((2 * value + side) / (2 * unit)) for side in (1, -1))
    return _around((above - below) / 2, bits)


def skellam_reach(variance: float, bits: int) -> int:
    """A number r with P(|K| >= r) <= 2^-bits, no more than about a tenth too large.

    Chernoff's bound: P(K >= r) <= exp(w - V - r asinh(r / V)) with w = sqrt(V^2 + r^2).
    """
    distance = max(1, math.ceil(math.sqrt(2 * variance * bits * math.log(2))))
    while _log_chernoff(distance, variance) > -(bits + 2) * math.log(2):  # 1 for both sides, 1 for rounding
        distance += max(1, distance // 32)
    return distance


def skellam_probability(first: int, last: int, variance: float, bits: int) -> Bounds:
    """Bounds on P(first <= K <= last), 2^(1 - bits) apart at most.

    The mean of N equidistant values of a periodic function's Fourier series holds each coefficient plus those at
    every distance of a multiple of N (Poisson's summation formula). So

        1/N sum over |l| < N/2 of exp(-V (1 - cos(2 pi l / N))) * (sum over k = first..last of cos(2 pi l k / N))

    exceeds the probability by that of windows at least N - max(|first|, |last|) from 0, which N makes small. Terms
    past l = M are below exp(-8 V l^2 / N^2), as 1 - cos t >= 2 t^2 / pi^2 for |t| <= pi.
    """
    span = max(abs(first), abs(last))
    count = max(skellam_reach(variance, bits + 2) + span, last - first + 1) | 1
    terms = min(_terms(8 * variance / count / count, bits + 2), count // 2)
    context = _context(bits)
    total = context.mpf(last - first + 1)
    for index in range(1, terms + 1):
        half_sine = context.sinpi(context.mpf(index) / count)
        weight = context.exp(-2 * context.mpf(variance) * half_sine**2)
        upper = context.sinpi(context.mpf(index * (2 * last + 1) % (2 * count)) / count)
        lower = context.sinpi(context.mpf(index * (2 * first - 1) % (2 * count)) / count)
        total += weight * (upper - lower) / half_sine
    return _around(total / count, bits)  # off by 2/4 of 2^-bits, for the windows and the terms left out


def skellam_tail(first: int, variance: float, bits: int) -> Bounds:
    """Bounds on P(K >= first), 2^(2 - bits) apart at most."""
    last = max(first, skellam_reach(variance, bits))
    low, high = skellam_probability(first, last, variance, bits)
    return low, high + Fraction(1, 1 << bits)


def _log_chernoff(distance: int, variance: float) -> float:
    slope = math.asinh(distance / variance)
    return distance * (distance / (math.hypot(variance, distance) + variance) - slope)


def _terms(decay: float, bits: int) -> int:
    """A number M with 2 (sum over l > M of exp(-decay l^2)) <= 2^-bits."""
    last = max(1, math.ceil(math.sqrt(bits * math.log(2) / decay)))
    # exp(-decay M^2) times a geometric series of ratio exp(-2 decay M); one bit for the 2, one for rounding.
    while decay * last * last + math.log(math.expm1(min(2 * decay * last, 700.0))) < (bits + 2) * math.log(2):
        last += max(1, last // 32)
    return last


def _context(bits: int) -> Any:  # mpmath is untyped
    context = MPContext()  # one for each call: a context's precision is shared by all who use it
    context.prec = bits + _GUARD_BITS
    return context


def _around(value: Any, bits: int) -> Bounds:
    """Bounds on a probability computed as `value` with an error below 0.9 * 2^-bits."""
    middle = Fraction(int(value.context.nint(value.context.ldexp(value, bits + 4))), 1 << (bits + 4))
    return max(Fraction(0), middle - Fraction(1, 1 << bits)), middle + Fraction(1, 1 << bits)
