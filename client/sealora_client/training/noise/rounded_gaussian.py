"""Gaussian noise rounded to integers, sampled exactly.

Noise in floating point is a privacy leak of its own: which doubles a noisy sum can take depends on the sum (Mironov,
CCS 2012, "On significance of the least significant bits for differential privacy"). Here the noise is round(N) for
a real, normally distributed N, and it is added to integers. For an integer x, round(x + N) = x + round(N): the
release is a rounding of the continuous Gaussian mechanism's, post-processing, so all that holds of that mechanism
holds of this one, and what comes out lies on the integers whatever the data are.

Exact means: the probability of k is Phi((k + 1/2) / std) - Phi((k - 1/2) / std), with nothing rounded off and no end
to the tails, as far as the keystream is uniformly random. Box-Muller in float64 finds almost every draw's integer
beyond doubt. Those within the error bound below of a rounding boundary, about one in a million at std = 2^20, are
decided again with more random bits in interval arithmetic, and again, until the whole interval rounds to one integer.
Running time is not constant: it tells how many draws were close.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from mpmath import MPIntervalContext
from numpy.typing import NDArray

from sealora_client.training.noise.keystream import Keystream
from sealora_client.training.noise.lazy_uniform import LazyUniform
from sealora_common.entropy import Entropy

MAX_STD = 2.0**40
"""Largest standard deviation: draws then stay far from the ends of int64."""

_BLOCK = 1 << 14  # draws at a time: the working arrays stay in the processor's cache
_RADIUS_BITS, _ANGLE_BITS = 63, 62  # of a pair's two words; the last two bits of the second are signs
_EXTREME_BITS = 20  # a radius uniform within 2^-20 of 0 or 1 is left to interval arithmetic

# Error of a float64 draw, in standard deviations. Signs aside, a pair is (c - s, c + s) * R * std, R = sqrt(-log U),
# s = sin(a), c = cos(a), with U uniform over (0, 1) and a over +-pi/4. Let e = 2^-53, half a unit in the last place.
# - U is an integer of 63 bits: off by e of itself from its conversion and, as U > 2^-20, by 2^-43 from its missing
#   bits; near 1 those are 2^-63. np.log adds 8e of its result (numpy's tests hold it to 4 units in the last place).
#   R is off by half the error of log U over R, and e * R. At the upper end, R > 2^-10: 2^-53 / 2^-9 = 2^-44. At the
#   lower end, 3.7 < R < 3.8: (2^-43 + e) / 7.4 + 5e * 3.8 < 2^-45. In all: below 2^-43.9.
# - a is off by 2^-61 from its missing bits, and 3e of itself from conversion, constant and product; s also by 2^-54.3
#   from the series' end, (pi/4)^17 / 17!, and 3e of itself from its sum: below 2^-50. c = sqrt(1 - s^2) > 0.7 is off
#   by no more than s plus 2e. So c - s and c + s: below 2^-48.7, times R < 3.8: below 2^-46.7.
# - |c - s|, |c + s| <= sqrt(2) multiply the error of R: 2^-43.4. The two products add 2e of their result, which is
#   below 3.8 * sqrt(2): 2^-49.5.
# The sum is below 2^-43.2. Were np.log a hundred units in the last place off, it would still be below 2^-43.
_ERROR = 2.0**-43
_OFFSET = 1 << 60  # beyond any draw
_SINE = [(-1) ** k / math.factorial(2 * k + 1) for k in range(8)]  # Taylor, to a^15


def rounded_gaussian(entropy: Entropy, size: int, std: float) -> NDArray[np.int64]:
    """Independent draws of round(N), N from N(0, std^2), under a key drawn from `entropy` for this call.

    Args:
        entropy: draws 32 bytes, whatever the size.
        size: number of draws.
        std: standard deviation of N, 0 to 2^40; 0 gives zeros. Above 2^33 the doubtful draws make it slow.

    Returns:
        int64, shape (size,).

    Raises:
        ValueError: std is not within 0 to 2^40.
    """
    if not 0 <= std <= MAX_STD:
        raise ValueError(f"expected a standard deviation of 0 to 2^40, got {std=}")
    draws = np.empty(size, dtype=np.int64)
    fill_rounded_gaussian(draws, std, Keystream(entropy))
    return draws


def fill_rounded_gaussian(draws: NDArray[np.int64], std: float, stream: Keystream) -> None:
    """Fills `draws`, shape (n,), as `rounded_gaussian` does, from bits of `stream`."""
    for start in range(0, len(draws), _BLOCK):
        block = draws[start : start + _BLOCK]
        pairs = (len(block) + 1) // 2
        words = stream.words(2 * pairs)
        radius, angle = words[:pairs], words[pairs:].view(np.int64)
        values = _box_muller(radius, angle, std)
        rounded = np.rint(values)
        block[:] = rounded[: len(block)]
        values -= rounded
        doubtful = np.abs(values, out=values) >= 0.5 - _ERROR * std
        for pair in np.flatnonzero(_extreme(radius) | doubtful[:pairs] | doubtful[pairs:]):
            decided = _decide(int(radius[pair]), int(angle[pair]), std, stream)
            block[pair::pairs] = decided[: len(block[pair::pairs])]


def _box_muller(radius: NDArray[np.uint64], angle: NDArray[np.int64], std: float) -> NDArray[np.float64]:
    """Pairs of normal draws: from n words each, shape (2 n,), the pairs' second draws behind the first ones.

    Box & Muller 1958, with the angle split into quadrant (two signs) and a part within +-pi/4 of its middle, where
    the sine's series is short and the cosine follows from it by a root without loss.
    """
    scale = np.empty(len(radius))
    np.copyto(scale, ((radius >> np.uint64(1)) | np.uint64(1)).view(np.int64))  # odd: never 0
    scale *= 2.0**-_RADIUS_BITS
    np.log(scale, out=scale)
    np.negative(scale, out=scale)
    np.sqrt(scale, out=scale)
    scale *= std

    sine = angle * (math.pi / 4 * 2.0**-63)
    square = sine * sine
    series = square * _SINE[-1]
    for coefficient in _SINE[-2:0:-1]:
        series += coefficient
        series *= square
    series += 1.0
    sine *= series
    np.multiply(sine, sine, out=square)
    np.subtract(1.0, square, out=square)
    cosine = np.sqrt(square, out=square)

    values = np.empty(2 * len(radius))
    first, second = values[: len(radius)], values[len(radius) :]
    np.subtract(cosine, sine, out=first)
    np.add(cosine, sine, out=second)
    np.multiply(first, scale, out=first)
    np.multiply(second, scale, out=second)
    signs = angle.view(np.uint64)
    first_bits, second_bits = first.view(np.uint64), second.view(np.uint64)
    first_bits ^= signs << np.uint64(63)
    second_bits ^= (signs >> np.uint64(1)) << np.uint64(63)
    return values


def _extreme(radius: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which radius words, shape (n,), are within 2^-20 of 0 or 1 as fractions of 2^64."""
    edge = np.uint64(1 << (64 - _EXTREME_BITS))
    return radius - edge >= np.uint64((1 << 64) - (2 << (64 - _EXTREME_BITS)))  # modulo 2^64: below `edge` is far up


def _decide(radius: int, angle: int, std: float, stream: Keystream) -> tuple[int, int]:
    """The integers of one pair of words (unsigned, signed), with as many more bits of `stream` as it takes.

    Every value the undrawn bits allow lies in the computed interval, and the pair is decided when all of them round
    to the same integers. Two uniforms extended are the same two uniforms: which draws come here biases nothing.
    """
    distance = LazyUniform(stream, radius >> (64 - _RADIUS_BITS), _RADIUS_BITS)
    turn = LazyUniform(stream, (angle >> (64 - _ANGLE_BITS)) + (1 << (_ANGLE_BITS - 1)), _ANGLE_BITS)
    signs = (-1 if angle & 1 else 1, -1 if angle & 2 else 1)
    while True:
        distance.extend()
        turn.extend()
        if distance.numerator == 0:
            continue  # the logarithm needs a bit that is not 0
        first, second = (_rounded(value) for value in _pair(distance, turn, signs, std))
        if first is not None and second is not None:
            return first, second


def _pair(
    distance: LazyUniform, turn: LazyUniform, signs: tuple[int, int], std: float
) -> tuple[Any, Any]:  # mpmath is untyped
    """Intervals that hold the two normal draws."""
    interval = MPIntervalContext()  # one for each call: a context's precision is shared by all who use it
    interval.prec = distance.bits + 64
    uniform = interval.mpf([distance.numerator, distance.numerator + 1]) / 2**distance.bits
    fraction = interval.mpf([turn.numerator, turn.numerator + 1]) / 2**turn.bits
    angle = (2 * fraction - 1) * interval.pi / 4
    scale = interval.sqrt(-interval.log(uniform)) * std
    cosine, sine = interval.cos(angle), interval.sin(angle)
    # mpmath rounds outwards, but from results good to a few units in the last place: 64 bits of slack cover those.
    slack = interval.mpf([-1, 1]) * std / 2**distance.bits
    return signs[0] * (scale * (cosine - sine) + slack), signs[1] * (scale * (cosine + sine) + slack)


def _rounded(value: Any) -> int | None:
    """The integer that every number of the interval rounds to, if there is one."""
    above = value + 0.5 + _OFFSET  # positive, where int() is the floor
    low, high = int(above.a), int(above.b)
    return low - _OFFSET if low == high else None
