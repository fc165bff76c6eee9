"""Encoding: the error of a coordinate, unbiased rounding, and room for the sum of all parties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.entropy import SeededEntropy, SystemEntropy
from sealora_common.secagg import encoding
from sealora_common.secagg.encoding import FixedPoint

ranges = st.tuples(st.floats(-100, 99), st.floats(0.001, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(
    bounds=ranges,
    bits=st.integers(12, 32),
    parties=st.integers(2, 1000),
    values=st.lists(st.floats(-200, 200), min_size=1, max_size=30),
    seed=st.integers(0, 2**32),
)
def test_a_coordinate_is_off_by_less_than_a_step(
    bounds: tuple[float, float], bits: int, parties: int, values: list[float], seed: int
) -> None:
    code = FixedPoint(*bounds, bits, parties)
    words, clipped = code.encode(np.array(values), SeededEntropy(seed))
    decoded = code.decode_sum(words, 1)
    inside = np.clip(values, *bounds)
    # Floating point adds a little of the range itself to the step.
    assert np.abs(decoded - inside).max() <= code.step * (1 + 1e-6) + 1e-12 * (abs(bounds[0]) + abs(bounds[1]))
    assert clipped == sum(not bounds[0] <= value <= bounds[1] for value in values)
    assert words.max() <= code.levels


@given(bits=st.integers(12, 32), parties=st.integers(1, 4095), high=st.booleans())
def test_the_sum_of_all_parties_at_the_end_of_the_range_does_not_wrap(bits: int, parties: int, high: bool) -> None:
    code = FixedPoint(-0.7, 0.7, bits, parties)
    words, _ = code.encode(np.array([0.7 if high else -0.7, 1e30 if high else -1e30]), SystemEntropy())
    total = parties * words.astype(np.uint64)
    assert total.max() < 2**bits
    decoded = code.decode_sum(total.astype(words.dtype), parties)
    assert decoded == pytest.approx(np.full(2, parties * (0.7 if high else -0.7)), rel=1e-9)


@pytest.mark.parametrize("bits", [12, 16, 24, 32])
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9])
def test_rounding_is_unbiased_with_the_stated_variance(bits: int, fraction: float) -> None:
    code = FixedPoint(-1.0, 1.0, bits, 10)
    value = (code.levels // 3 + fraction) * code.step - 1.0
    count = 200_000
    words, _ = code.encode(np.full(count, value), SeededEntropy("unbiased", bits, str(fraction)))
    lowest = code.levels // 3
    ups = words.astype(np.int64) - lowest
    assert set(np.unique(ups)) <= {-1, 0, 1, 2} if fraction in (0.0,) else {0, 1}
    spread = math.sqrt(fraction * (1 - fraction) / count)
    assert ups.mean() == pytest.approx(fraction, abs=6 * spread + 1e-5)
    assert ups.var() <= 0.25 + 0.01


def test_rounding_errors_of_parties_are_independent() -> None:
    code = FixedPoint(-1.0, 1.0, 12, 10)
    values = np.full(50_000, 0.12345)
    errors = [code.decode_sum(code.encode(values, SystemEntropy())[0], 1) - values for _ in range(2)]
    assert abs(np.corrcoef(*errors)[0, 1]) < 0.03


def test_a_mean_of_lora_sized_deltas_is_close() -> None:
    generator = np.random.default_rng(3)
    deltas = generator.normal(0.0, 2e-3, (10, 20_000))
    exact = deltas.mean(axis=0)
    for bits, bound in ((16, 2e-2), (32, 1e-6)):
        code = FixedPoint(-0.012, 0.012, bits, 10)
        total = sum(code.encode(delta, SystemEntropy())[0].astype(np.uint64) for delta in deltas)
        mean = code.decode_sum(np.asarray(total), 10) / 10
        assert np.linalg.norm(mean - exact) / np.linalg.norm(exact) < bound


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    values = np.zeros(70_000)
    values[-1] = value
    with pytest.raises(ValueError, match="finite"):
        FixedPoint(-1.0, 1.0, 16, 3).encode(values, SystemEntropy())


@pytest.mark.parametrize(
    ("low", "high", "bits", "parties"),
    [(1.0, 1.0, 16, 3), (1.0, -1.0, 16, 3), (math.nan, 1.0, 16, 3), (0, 1, 12, 4096)],
)
def test_impossible_codes_do_not_exist(low: float, high: float, bits: int, parties: int) -> None:
    with pytest.raises(ValueError, match="low < high"):
        FixedPoint(low, high, bits, parties)


def test_float32_values_encode_as_their_float64_values() -> None:
    values = np.linspace(-1, 1, 1001, dtype=np.float32)
    code = FixedPoint(-1.0, 1.0, 20, 5)
    single, _ = code.encode(values, SeededEntropy("same"))
    double, _ = code.encode(values.astype(np.float64), SeededEntropy("same"))
    assert np.array_equal(single, double)


def test_an_empty_vector_encodes() -> None:
    words, clipped = FixedPoint(-1.0, 1.0, 13, 3).encode(np.zeros(0), SystemEntropy())
    assert (len(words), clipped) == (0, 0)


def test_the_top_level_is_never_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where floating point takes the end of the range a little past the top level, and every coin says up."""

    class AllOnes:
        def __init__(self, *_: object) -> None: ...

        def encryptor(self) -> AllOnes:
            return self

        def update(self, content: bytes) -> bytes:
            return b"\xff" * len(content)

    monkeypatch.setattr(encoding, "Cipher", AllOnes)
    passed = 0
    for width in np.linspace(0.1, 3.0, 500):
        code = FixedPoint(0.0, float(width), 32, 3)
        passed += math.floor(width * (code.levels / width) + (1 - 2**-32)) > code.levels
        words, _ = code.encode(np.array([width]), SystemEntropy())
        assert words[0] == code.levels
    assert passed > 10
