"""The rounded Gaussian is exactly that: in distribution, and draw by draw where float64 cannot tell."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_bench import ScriptedStream, correlations, even_fit, fit, rounded_normal_cdf, words_of
from numpy.typing import NDArray

from sealora_client.training.noise import rounded_gaussian as module
from sealora_client.training.noise.keystream import Keystream
from sealora_client.training.noise.rounded_gaussian import rounded_gaussian
from sealora_common.entropy import SeededEntropy, SystemEntropy

GRID_STD = 2.0**20
LOW, HIGH = 1 << 44, (1 << 64) - (1 << 44)  # radius words from LOW to below HIGH are decided in float64 if they can be


def exact_pair(distance: tuple[int, int], turn: tuple[int, int], angle_word: int, std: float) -> tuple[object, object]:
    """The two real draws of uniforms (numerator, bits), by Box & Muller's own formula, to 400 bits."""
    with mpmath.workprec(400):
        uniform = mpmath.mpf(distance[0]) / 2 ** distance[1]
        angle = mpmath.pi / 2 * (mpmath.mpf(turn[0]) / 2 ** turn[1])  # from 0 to a quarter turn
        radius = std * mpmath.sqrt(-2 * mpmath.log(uniform))
        signs = (-1 if angle_word & 1 else 1, -1 if angle_word & 2 else 1)
        return signs[0] * radius * mpmath.cos(angle), signs[1] * radius * mpmath.sin(angle)


def turn_of(angle_word: int) -> tuple[int, int]:
    return ((angle_word >> 2) + (1 << 61)) % (1 << 62), 62


def nearest(value: object) -> int:
    with mpmath.workprec(400):
        return int(mpmath.floor(value + mpmath.mpf(0.5)))


# --- the decision in float64, and its error bound


def adversarial_words() -> tuple[list[int], list[int]]:
    """Words at the ends of every range, crossed, and random ones."""
    radius = [LOW, LOW + 1, LOW << 1, 1 << 52, 1 << 62, 1 << 63, HIGH - 1, HIGH - (1 << 44), HIGH - (1 << 50)]
    angle = [0, 1, 2, 3, 1 << 62, 3 << 61, 1 << 61, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 12345678901234567890]
    random = Keystream(SeededEntropy("words")).words(800).tolist()
    near_one = [HIGH - 1 - (word >> 20) for word in random[:200]]
    small = [LOW + (word >> 19) for word in random[:200]]
    crossed = [(first, second) for first in radius for second in angle]
    pairs = (
        crossed
        + list(zip(near_one + small, random[:400], strict=True))
        + list(zip(random[:400], random[400:], strict=True))
    )
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def test_float_draws_are_within_the_error_bound() -> None:
    radius, angle = adversarial_words()
    words = np.array(angle, dtype=np.uint64).view(np.int64)
    floats = module._box_muller(np.array(radius, dtype=np.uint64), words, 1.0)
    worst = 0.0
    for index, (radius_word, angle_word) in enumerate(zip(radius, words.tolist(), strict=True)):
        for missing in (0, 1):  # both ends of what the undrawn bits may add
            distance = (radius_word >> 1) + missing, 63
            turn = turn_of(angle_word)[0] + missing, 62
            for value, computed in zip(
                exact_pair(distance, turn, angle_word, 1.0), (floats[index], floats[len(radius) + index]), strict=True
            ):
                worst = max(worst, abs(float(value - mpmath.mpf(float(computed)))))
    assert 2.0**-46 < worst < module._ERROR  # the bound's largest part is real: a tenth of it is reached


def test_extreme_radius_words_are_left_to_intervals() -> None:
    words = np.array([0, 1, LOW - 1, LOW, 1 << 63, HIGH - 1, HIGH, (1 << 64) - 1], dtype=np.uint64)
    assert module._extreme(words).tolist() == [True, True, True, False, False, False, True, True]


@pytest.mark.parametrize("std", [0.3, 1.0, 5.0, GRID_STD, 2.0**32])
def test_deciding_every_draw_in_intervals_changes_none(monkeypatch: pytest.MonkeyPatch, std: float) -> None:
    usual = rounded_gaussian(SeededEntropy("forced"), 501, std)
    monkeypatch.setattr(module, "_ERROR", 1 / std)  # wider than any distance from a boundary
    assert rounded_gaussian(SeededEntropy("forced"), 501, std).tolist() == usual.tolist()


@pytest.mark.parametrize("std", [1.0, GRID_STD])
@pytest.mark.parametrize("which", [0, 1])
def test_a_usual_draw_needs_no_intervals_and_a_close_one_does(
    monkeypatch: pytest.MonkeyPatch, std: float, which: int
) -> None:
    decided: list[tuple[int, int]] = []
    monkeypatch.setattr(module, "_decide", lambda radius, angle, *_: decided.append((radius, angle)) or (7, 8))
    radius, angle = 1 << 63, 3 << 60
    exact = float(exact_pair((radius >> 1, 63), turn_of(angle), angle, std)[which])
    for shift, close in ((0.25, False), (0.5, True)):  # scaled so that the draw's fraction is `shift`
        decided.clear()
        monkeypatch.setattr(module, "Keystream", lambda _: ScriptedStream([radius, angle]))
        noise = rounded_gaussian(SystemEntropy(), 2, std * (math.floor(exact) + shift) / exact)
        assert decided == ([(radius, angle)] if close else [])
        assert (noise.tolist() == [7, 8]) == close


# --- the decision in intervals


@pytest.mark.parametrize("std", [1.0, 5.0, GRID_STD])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("angle_word", [3 << 60, -(5 << 59) - 1, 2, 1])
@pytest.mark.parametrize("exponent", [70, 120, 180])
def test_bits_on_both_sides_of_a_boundary_are_told_apart(
    std: float, which: int, angle_word: int, exponent: int
) -> None:
    """Radius bits are chosen so that the draw is 2^-exponent of a step below or above half an integer."""
    bits = 63 + 4 * 64
    later = Keystream(SeededEntropy("angle")).words(4).tolist()
    turn = turn_of(angle_word)[0] << 256 | int.from_bytes(b"".join(word.to_bytes(8, "big") for word in later)), 62 + 256
    with mpmath.workprec(400):
        target = mpmath.mpf(math.floor(std)) + mpmath.mpf(0.5)
        trig = (mpmath.cos, mpmath.sin)[which](mpmath.pi / 2 * (mpmath.mpf(turn[0]) / 2 ** turn[1]))
        numerators = []
        for side in (-1, 1):
            wanted = target + side * mpmath.mpf(2) ** -exponent
            uniform = mpmath.exp(-((wanted / std / trig) ** 2) / 2)
            numerators.append(int(mpmath.floor(uniform * 2**bits)))
    outcomes = []
    for numerator in numerators:
        extensions = [word for pair in zip(words_of(numerator, bits, 63), later, strict=True) for word in pair]
        stream = ScriptedStream(extensions)
        decided = module._decide((numerator >> 256) << 1, angle_word, std, stream)
        expected = exact_pair((numerator, bits), turn, angle_word, std)
        assert decided == tuple(nearest(value) for value in expected)
        outcomes.append(abs(decided[which]))
        assert stream.taken >= 2 * math.ceil((exponent - 62) / 64)  # fewer bits cannot tell
    assert outcomes == [math.floor(std), math.floor(std) + 1]


@pytest.mark.parametrize(
    ("radius_word", "extension"),
    [
        (0, 1),  # U about 2^-127
        (1, 0),  # the radius has 63 bits: U is 0 so far, and needs one more word to have a logarithm
        (2, 7),
        ((1 << 64) - 1, (1 << 64) - 1),  # U within 2^-127 of 1
        ((1 << 64) - 1, 0),
    ],
)
def test_the_far_ends_of_the_radius_are_exact(radius_word: int, extension: int) -> None:
    angle_word = 1 << 62
    script = [extension, 5, *Keystream(SeededEntropy("far ends")).words(4).tolist()]
    stream = ScriptedStream(script)
    decided = module._decide(radius_word, angle_word, GRID_STD, stream)
    distance, turn = (radius_word >> 1, 63), turn_of(angle_word)
    for index in range(0, stream.taken, 2):
        distance = distance[0] << 64 | script[index], distance[1] + 64
        turn = turn[0] << 64 | script[index + 1], turn[1] + 64
    assert decided == tuple(nearest(value) for value in exact_pair(distance, turn, angle_word, GRID_STD))
    if radius_word < 2:
        assert max(abs(value) for value in decided) > 12 * GRID_STD


def test_draws_beyond_twelve_deviations_come_out_of_the_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    # Radius, an angle at the end of its quadrant, and their next bits.
    stream = ScriptedStream([0, 1 << 63, 1, 0, 0, 0])
    monkeypatch.setattr(module, "Keystream", lambda _: stream)
    far, near = rounded_gaussian(SystemEntropy(), 2, GRID_STD).tolist()
    assert far / GRID_STD == pytest.approx(math.sqrt(2 * 127 * math.log(2)))
    assert near == 0


# --- the distribution


@pytest.fixture(scope="module")
def draws() -> NDArray[np.int64]:
    return rounded_gaussian(SeededEntropy("rounded gaussian"), 1_000_000, GRID_STD)


@pytest.mark.parametrize("std", [0.15, 0.3, 1.0, 5.0, 300.7])
def test_small_deviations_fit_bin_by_bin(std: float) -> None:
    assert (
        fit(rounded_gaussian(SeededEntropy("small", str(std)), 300_000, std), rounded_normal_cdf(std), std, bins=30_000)
        > 1e-3
    )


def test_a_million_draws_on_the_grid_fit(draws: NDArray[np.int64]) -> None:
    assert fit(draws, rounded_normal_cdf(GRID_STD), GRID_STD, bins=4000) > 1e-3


def test_the_lowest_bits_are_even(draws: NDArray[np.int64]) -> None:
    assert even_fit(draws & 1, 2) > 1e-3
    assert even_fit(draws & 255, 256) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("std", [0.3, 1.0, 5.0, 1234.5, GRID_STD, 50 * GRID_STD])
def test_ten_million_draws_fit(std: float) -> None:
    many = rounded_gaussian(SeededEntropy("many", str(std)), 10_000_000, std)
    assert fit(many, rounded_normal_cdf(std), std, bins=100_000) > 1e-3


def test_moments_are_those_of_the_normal_distribution(draws: NDArray[np.int64]) -> None:
    unit = draws / GRID_STD
    # Standard errors of the first four sample moments: sqrt of 1, 2, 15, 96 over n.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(unit**power) - moment) < 5 * math.sqrt(variance / len(unit))


def test_draws_are_uncorrelated_at_the_lags_of_pairs_and_blocks(draws: NDArray[np.int64]) -> None:
    for lag in (1, 2, module._BLOCK // 2, module._BLOCK):
        assert max(map(abs, correlations(draws, GRID_STD, lag))) < 5


def fine_structure(draws: NDArray[np.float64], std: float) -> float:
    """The p-value that bits 27 to 34 of the pairs' radius uniforms are random: reads them back from the draws."""
    first, second = np.split(draws / std, 2)
    uniforms = np.exp(-(first**2 + second**2) / 2)
    return even_fit(np.floor(uniforms * 2**34).astype(np.int64) & 255, 256)


def test_radius_bits_far_down_are_random() -> None:
    std = 2.0**38
    assert fine_structure(rounded_gaussian(SeededEntropy("fine"), 1 << 13, std).astype(np.float64), std) > 1e-3


# --- the tests of fit see what is wrong


def box_muller(bits: int, size: int, std: float) -> NDArray[np.float64]:
    """A textbook Box-Muller whose uniforms have few bits."""
    words = Keystream(SeededEntropy("weak")).words(size) >> np.uint64(64 - bits)
    radius, angle = np.split((words.astype(np.float64) + 1) * 2.0**-bits, 2)
    scale = std * np.sqrt(-2 * np.log(radius))
    return np.concatenate([scale * np.cos(2 * math.pi * angle), scale * np.sin(2 * math.pi * angle)])


def test_uniforms_of_24_bits_do_not_pass() -> None:
    std = 2.0**38
    assert fine_structure(np.rint(box_muller(24, 1 << 13, std)), std) < 1e-9
    assert fine_structure(np.rint(box_muller(53, 1 << 13, std)), std) > 1e-3


@pytest.mark.parametrize("std", [0.3, 1.0, 5.0])
def test_truncated_or_slightly_wider_noise_does_not_pass(std: float) -> None:
    values = box_muller(53, 300_000, std)
    cdf = rounded_normal_cdf(std)
    assert fit(np.rint(values).astype(np.int64), cdf, std, bins=30_000) > 1e-3
    assert fit(np.floor(values).astype(np.int64), cdf, std, bins=30_000) < 1e-9
    assert fit(np.rint(values * 1.02).astype(np.int64), cdf, std, bins=30_000) < 1e-9


def test_uniforms_of_10_bits_do_not_pass() -> None:
    values = np.rint(box_muller(10, 1_000_000, GRID_STD)).astype(np.int64)
    assert fit(values, rounded_normal_cdf(GRID_STD), GRID_STD, bins=4000) < 1e-9


# --- the interface


def test_known_answers() -> None:
    assert rounded_gaussian(SeededEntropy("known"), 6, 1.0).tolist() == [1, -1, 1, -1, -2, 0]
    assert rounded_gaussian(SeededEntropy("known"), 6, GRID_STD).tolist() == [
        993817, -1170637, 814204, -1115493, -1660717, 300721
    ]  # fmt: skip


@pytest.mark.parametrize("size", [200, 201])
def test_draws_are_box_mullers_of_the_keystreams_words(size: int) -> None:
    pairs = (size + 1) // 2
    words = Keystream(SeededEntropy("words")).words(2 * pairs)
    angles = words[pairs:].view(np.int64).tolist()
    exact = [
        exact_pair((radius >> 1, 63), turn_of(angle), angle, GRID_STD)
        for radius, angle in zip(words[:pairs].tolist(), angles, strict=True)
    ]
    expected = [nearest(first) for first, _ in exact] + [nearest(second) for _, second in exact]
    assert rounded_gaussian(SeededEntropy("words"), size, GRID_STD).tolist() == expected[:size]


def test_two_calls_on_one_entropy_share_no_draw() -> None:
    entropy = SeededEntropy("two calls")
    first, second = (rounded_gaussian(entropy, 1000, 2.0**40) for _ in range(2))
    assert not np.intersect1d(first, second).size


@pytest.mark.parametrize("size", [0, 1, 2, 3, (1 << 14) - 1, 1 << 14, (1 << 14) + 1])
def test_any_size_is_filled(size: int) -> None:
    noise = rounded_gaussian(SeededEntropy(size), size, GRID_STD)
    assert noise.shape == (size,)
    assert noise.dtype == np.int64
    assert noise.all()


@settings(max_examples=50)
@given(std=st.floats(2.0**-30, 2.0**39), size=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_twice_the_deviation_doubles_every_draw_up_to_rounding(std: float, size: int, seed: int) -> None:
    once = rounded_gaussian(SeededEntropy(seed), size, std)
    twice = rounded_gaussian(SeededEntropy(seed), size, 2 * std)
    assert (np.abs(twice - 2 * once) <= 1).all()
    assert (np.abs(once) <= 12 * std + 1).all()


@pytest.mark.parametrize("std", [0.0, 5e-324, 1e-200])
def test_next_to_no_deviation_gives_zeros(std: float) -> None:
    assert not rounded_gaussian(SystemEntropy(), 1000, std).any()


@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf, 2.0**40 * 1.001])
def test_an_impossible_standard_deviation_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match="standard deviation"):
        rounded_gaussian(SystemEntropy(), 3, std)
