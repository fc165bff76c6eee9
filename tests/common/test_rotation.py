from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard

from sealora_common.entropy import SeededEntropy
from sealora_common.recipe import Recipe
from sealora_common.round.clip_range import initial_range, next_range
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.rotation import BLOCK, rotate, rotated_length, unrotate

VECTORS = Path(__file__).parent / "vectors"
lengths = st.integers(0, 2 * BLOCK + 1)
seeds = st.text(max_size=8)


def vector(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([length, seed]).normal(size=length)


@given(st.integers(0, 10 * BLOCK))
def test_vectors_are_padded_to_whole_blocks(length):
    assert rotated_length(length) % BLOCK == 0
    assert length <= rotated_length(length) < length + BLOCK


@given(lengths, seeds)
def test_rotating_back_gives_the_vector(length, seed):
    rotated = rotate(vector(length), seed)
    assert rotated.shape == (rotated_length(length),)
    np.testing.assert_allclose(unrotate(rotated, seed, length), vector(length), atol=1e-12)


@given(lengths, seeds)
def test_the_norm_is_kept_block_by_block(length, seed):
    """Zeros pad the last block; the energy of each block stays in it."""
    padded = np.zeros(rotated_length(length))
    padded[:length] = vector(length)
    before, after = (np.linalg.norm(each.reshape(-1, BLOCK), axis=1) for each in (padded, rotate(vector(length), seed)))
    np.testing.assert_allclose(after, before, rtol=1e-12)


@given(lengths, seeds, st.floats(-10, 10))
def test_the_rotation_is_linear_so_a_sum_of_rotated_vectors_is_the_rotated_sum(length, seed, factor):
    one, other = vector(length, 1), vector(length, 2)
    np.testing.assert_allclose(
        rotate(one, seed) + factor * rotate(other, seed), rotate(one + factor * other, seed), atol=1e-11
    )


def test_the_matrix_is_orthonormal_and_is_hadamard_s_times_signs():
    """Columns from unit vectors, against scipy's construction of Sylvester's matrix."""
    chosen = [0, 1, 2, 1023, 2048, BLOCK - 1]
    columns = np.stack([rotate(np.eye(1, BLOCK, position)[0], "seed") for position in chosen], axis=1)
    np.testing.assert_allclose(columns.T @ columns, np.eye(len(chosen)), atol=1e-12)
    expected = hadamard(BLOCK)[:, chosen] / np.sqrt(BLOCK)
    signs = np.sign(columns[0])
    np.testing.assert_allclose(columns, expected * signs, atol=1e-15)


def test_the_signs_are_fair_and_depend_on_the_seed():
    units = np.ones(64 * BLOCK)
    signs = [unrotate(rotate(units, "a"), seed, len(units)) for seed in ("a", "b")]
    np.testing.assert_allclose(signs[0], units, atol=1e-12)
    assert np.abs(signs[1] @ units) / len(units) < 0.02  # four standard deviations: another seed, other signs
    ones = rotate(np.eye(1, BLOCK)[0], "a"), rotate(np.eye(1, BLOCK)[0], "b"), rotate(np.eye(1, BLOCK)[0], "c")
    assert {float(np.sign(each[0])) for each in ones} == {-1.0, 1.0}


def test_the_known_rotation():
    known = json.loads((VECTORS / "rotation.json").read_text(encoding="utf-8"))
    values = np.zeros(known["length"])
    values[known["positions"]] = known["values"]
    rotated = rotate(values, known["seed"])
    np.testing.assert_allclose(rotated[: len(known["first"])], known["first"], rtol=1e-12)
    np.testing.assert_allclose(rotated[-len(known["last"]) :], known["last"], rtol=1e-12)


# What it is for: a narrow ring and a vector with a few large coordinates.

SITES, PARAMETERS = 10, 8 * BLOCK


def recipe(rotation: bool) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "r",
            "rounds": 3,
            "model": {"base": "none"},
            "training": {"learning_rate": 0.01, "steps_per_round": 100},
            "sealing": {"ring_bits": 12, "rotation": rotation, "weighting": "uniform"},
        }
    )


def heavy_tailed(site: int) -> np.ndarray:
    """Most coordinates near 0.002, one in a thousand up to a hundred times as large, the same ones at all sites."""
    common = np.random.default_rng(1)
    large = common.random(PARAMETERS) < 1e-3
    scale = np.where(large, 0.2 * common.random(PARAMETERS), 2e-3)
    return np.random.default_rng([2, site]).normal(size=PARAMETERS) * 0.5 * scale + 0.5 * scale


def relative_error(rotation: bool) -> tuple[float, float]:
    """Relative L2 error of the sum in the second round, under the range that the first one gave; and its clipping."""
    deltas = [heavy_tailed(site) for site in range(SITES)]
    exact = np.sum(deltas, axis=0)
    reach = initial_range(recipe(rotation))
    fraction = 0.0
    for _ in range(2):
        code = FixedPoint(-reach, reach, 12, SITES)
        words, clipped = np.zeros(PARAMETERS, dtype=np.int64), 0
        for site, delta in enumerate(deltas):
            encoded, outside = code.encode(rotate(delta, "n") if rotation else delta, SeededEntropy(site))
            words += encoded
            clipped += outside
        total = code.decode_sum(words, SITES)
        if rotation:
            total = unrotate(total, "n", PARAMETERS)
        fraction = clipped / PARAMETERS / SITES
        reach = next_range(recipe(rotation), reach, total, fraction)
    return float(np.linalg.norm(total - exact) / np.linalg.norm(exact)), fraction


def test_a_narrow_ring_is_at_least_three_times_as_accurate_with_the_rotation():
    (plain, _), (rotated, clipped) = relative_error(False), relative_error(True)
    print(f"relative L2 error in 12 bits: {plain:.4f} without the rotation, {rotated:.4f} with it")
    assert clipped < 1e-3
    assert rotated < 0.2
    assert plain / rotated >= 3


@pytest.mark.parametrize("rotation", [False, True])
def test_the_error_is_that_of_rounding_alone(rotation):
    """Not of clipping: a bound of a whole step for each site would be exceeded by any coordinate that was cut."""
    assert relative_error(rotation)[1] == pytest.approx(0, abs=1e-4)
