"""Symmetric Skellam noise, sampled exactly: the difference of two Poisson numbers of one mean.

Sums of independent Skellam draws are Skellam with the variances added, which is what the mechanism `distributed`
rests on (Agarwal, Kairouz & Liu 2021, arXiv:2110.04995): each site adds a share, and the sum is the central
mechanism's. That holds for exact draws; approximate ones would need an argument of their own.

Exact means: the probability of k is exp(-V) I_k(V), V the variance, as far as the keystream is uniformly random.
Below 2^20 a table of the distribution function is inverted. From there on the distribution is so close to the
rounded Gaussian's that a rounded Gaussian draw needs rejecting about once in V / 127 times, and the decision is
settled in high precision where a short bound does not settle it. Two Poisson numbers, as by Hoermann's transformed
rejection (1993), would take twice the draws and a rejection in ten of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sealora_client.training.noise.keystream import Keystream
from sealora_client.training.noise.lazy_uniform import LazyUniform
from sealora_client.training.noise.probability import (
    Bounds,
    rounded_gaussian_probability,
    skellam_probability,
    skellam_reach,
    skellam_tail,
)
from sealora_client.training.noise.rounded_gaussian import fill_rounded_gaussian
from sealora_client.training.noise.skellam_table import fill_from_table
from sealora_common.entropy import Entropy

MAX_VARIANCE = 2.0**60
"""Largest variance: draws then stay far from the ends of int64."""

_LARGE = 2.0**20  # from this variance on, rejection
_BLOCK = 1 << 14  # draws at a time
_BODY = 7.0  # standard deviations within which draws come from the rounded Gaussian
_COIN_BITS = 32
_ROUNDING = 2.0**-40  # relative; more than a few operations in float64 lose


def skellam(entropy: Entropy, size: int, variance: float) -> NDArray[np.int64]:
    """Independent symmetric Skellam draws under a key drawn from `entropy` for this call.

    Args:
        entropy: draws 32 bytes, whatever the size.
        size: number of draws.
        variance: of each draw, 0 to 2^60; 0 gives zeros.

    Returns:
        int64, shape (size,).

    Raises:
        ValueError: variance is not within 0 to 2^60.
    """
    if not 0 <= variance <= MAX_VARIANCE:
        raise ValueError(f"expected a variance of 0 to 2^60, got {variance=}")
    draws = np.zeros(size, dtype=np.int64)
    stream = Keystream(entropy)
    if variance >= _LARGE:
        _fill_by_rejection(draws, _Hat.over(variance), stream)
    elif variance > 0:
        fill_from_table(draws, variance, stream)
    return draws


@dataclass(frozen=True)
class _Hat:
    """How Skellam draws are made from rounded Gaussian ones.

    Let p be the Skellam probability, g the rounded Gaussian's, t = P(|K| > body) and W uniform over [0, 1). A trial
    draws k from g and ends in k if |k| <= body and W < scale * p(k) / g(k); in a draw from the tail |K| > body if
    W >= 1 - scale * t; in another trial otherwise. So it ends in each k with probability scale * p(k), on condition
    that scale * (p(k) / g(k) + t) <= 1 for all k of the body.

    Attributes:
        variance: V.
        std: of the Gaussian: sqrt(V), rounded.
        body: largest |k| that comes from the rounded Gaussian.
        scale: as above, a little below 1.
        certain: coins (the first 32 bits of W) below this accept every k of the body.
        tails: bounds on t by precision, as far as computed.
    """

    variance: float
    std: float
    body: int
    scale: Fraction
    certain: int
    tails: dict[int, Bounds] = field(default_factory=dict)

    @classmethod
    def over(cls, variance: float) -> _Hat:
        """The hat for one variance, with float64 results rounded to the safe side."""
        std = math.sqrt(variance)
        spread = math.exp(_log_ratio_bound(_BODY, variance))
        # Chernoff's bound (see `skellam_reach`); asinh(y) >= y - y^3 / 6 bounds its exponent.
        beyond = 2 * math.exp(-(_BODY**2) / 2 + _BODY**4 / 24 / variance)
        scale = (1 - _ROUNDING) / (spread + beyond)
        certain = math.floor((1 - _ROUNDING) * scale / spread * 2**_COIN_BITS)
        return cls(variance, std, math.floor(_BODY * std), Fraction(scale), certain)

    def tail(self, bits: int) -> Bounds:
        """Bounds on t, 2^(3 - bits) apart at most."""
        if bits not in self.tails:
            self.tails[bits] = _beyond(self.body, self.variance, bits)
        return self.tails[bits]


def _log_ratio_bound(deviations: float, variance: float) -> float:
    """A bound on |log(p(k) / g(k))| for |k| = x sqrt(V), x up to `deviations` <= 7, V >= 2^20.

    Shifting the path of integration of I_k(V) = 1/2pi int exp(V cos t + i k t) dt by asinh(k / V) gives, with
    w = sqrt(V^2 + k^2),

        p(k) = exp(w - V - k asinh(k / V)) * 1/2pi int_{-pi..pi} exp(-w (1 - cos t)) cos(k (t - sin t)) dt.

    - The exponent lies in -x^2/2 + [0, x^4 / 24V]: it is 0 at 0 and its slope is -asinh(k / V), where
      y - y^3 / 6 <= asinh y <= y for y >= 0.
    - The integral is at most that without the cosine. With u = 2 sin(t/2) and (1 - u^2/4)^(-1/2) <= 1 + u^2/6 for
      |u| <= 1, that is at most (2 pi w)^(-1/2) (1 + 1/6w) + exp(-w/2) <= (2 pi w)^(-1/2) (1 + 1/3V).
    - It is at least (2 pi w)^(-1/2) (1 - 5 x^2 / V^2 - 1/V^2), as 1 - cos t <= t^2/2 and, for what the cosine takes
      away, cos z >= 1 - z^2/2, |t - sin t| <= |t|^3/6, 1 - cos t >= 2 t^2/pi^2.
    - (2 pi w)^(-1/2) lies in (2 pi V)^(-1/2) [1 - x^2 / 4V, 1].
    - g(k) is the density exp(-x^2/2) (2 pi V)^(-1/2), times a factor within [1 - 1/8V, 1 + x^2 / 4V] for the mean
      over k +- 1/2, times one within exp(+-(x^2 + 1) 2^-51) for the rounding of sqrt(V).
    Hence log(p/g) is at most (x^4/24 + 1/3 + 1/7) / V and at least -(x^2/2 + 1) / V, up to the last factor.
    """
    square = deviations * deviations
    return (square * square / 24 + square / 2 + 1) / variance + (square + 1) * 2.0**-50


def _fill_by_rejection(draws: NDArray[np.int64], hat: _Hat, stream: Keystream) -> None:
    for start in range(0, len(draws), _BLOCK):
        block = draws[start : start + _BLOCK]
        fill_rounded_gaussian(block, hat.std, stream)
        coins = stream.half_words(len(block))
        for index in np.flatnonzero((coins >= hat.certain) | (np.abs(block) > hat.body)):
            block[index] = _finish(int(block[index]), int(coins[index]), hat, stream)


def _finish(draw: int, coin: int, hat: _Hat, stream: Keystream) -> int:
    """Ends one draw whose first trial has given a rounded Gaussian `draw` and a `coin`."""
    trial = np.empty(1, dtype=np.int64)
    while (outcome := _outcome(draw, LazyUniform(stream, coin, _COIN_BITS), hat, stream)) is None:
        fill_rounded_gaussian(trial, hat.std, stream)
        draw, coin = int(trial[0]), int(stream.half_words(1)[0])
    return outcome


def _outcome(draw: int, coin: LazyUniform, hat: _Hat, stream: Keystream) -> int | None:
    """What a trial ends in (see `_Hat`), or None for another trial."""
    coin.extend()
    inside = abs(draw) <= hat.body
    # Nearly always the bound on p/g by itself settles it.
    spread = Fraction(math.exp(_log_ratio_bound(abs(draw) / hat.std, hat.variance)) * (1 + _ROUNDING))
    if inside and coin.high <= hat.scale / spread:
        return draw
    while True:
        tail_low, tail_high = hat.tail(coin.bits)
        if coin.low >= 1 - hat.scale * tail_low:
            return _from_tail(coin, hat, stream)
        if coin.high <= 1 - hat.scale * tail_high:
            if not inside or coin.low >= hat.scale * spread:
                return None
            skellam_low, skellam_high = skellam_probability(draw, draw, hat.variance, coin.bits)
            gauss_low, gauss_high = rounded_gaussian_probability(draw, hat.std, coin.bits)
            if coin.high * gauss_high <= hat.scale * skellam_low:
                return draw
            if coin.low * gauss_low >= hat.scale * skellam_high:
                return None
        coin.extend()


def _from_tail(coin: LazyUniform, hat: _Hat, stream: Keystream) -> int:
    """A draw from |K| > body, by inversion of P(|K| > j) at (1 - W) / scale, which is uniform over [0, t]."""
    sign = 1 - 2 * int(stream.words(1)[0] & np.uint64(1))
    while True:
        low, high = (1 - coin.high) / hat.scale, (1 - coin.low) / hat.scale
        near, far = hat.body, skellam_reach(hat.variance, coin.bits)
        while far - near > 1:
            middle = (near + far) // 2
            if sum(_beyond(middle, hat.variance, coin.bits)) > low + high:
                near = middle
            else:
                far = middle
        # Certain if the whole interval lies between P(|K| > far) and P(|K| > far - 1).
        if _beyond(far, hat.variance, coin.bits)[1] <= low and high <= _beyond(near, hat.variance, coin.bits)[0]:
            return sign * far
        coin.extend()


def _beyond(distance: int, variance: float, bits: int) -> Bounds:
    """Bounds on P(|K| > distance)."""
    low, high = skellam_tail(distance + 1, variance, bits)
    return 2 * low, 2 * high
