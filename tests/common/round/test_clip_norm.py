"""Adaptive clipping: what votes take of the sensitivity, and where they lead the clipping norm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import VOTE, is_allowed, next_clip_norm, steps_of_gradient, unclipped_share


def recipe(quantile: float | None = 0.5, clip_norm: float = 1.0) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "r",
            "rounds": 3,
            "model": {"base": "none"},
            "privacy": {"target_quantile": quantile, "clip_norm": clip_norm},
        }
    )


@given(st.integers(1, 2**40))
def test_gradient_and_vote_share_the_units_to_the_last_bit(units):
    """The squares of the longest gradient and of a vote add up to no more than that of the whole, in integers."""
    assert steps_of_gradient(units) ** 2 + math.floor(VOTE * units) ** 2 <= units**2


@pytest.mark.parametrize("bits", range(10, 27))
def test_and_waste_next_to_nothing_on_the_grids_in_use(bits):
    units = 1 << bits
    assert steps_of_gradient(units) >= 0.994 * units
    assert math.floor(VOTE * units) >= 0.099 * units


@given(st.integers(0, 50), st.integers(0, 50), st.sampled_from([1 << 10, 1 << 16, 1 << 24]))
def test_the_share_is_read_from_the_summed_votes(unclipped, clipped, units):
    count = unclipped + clipped
    if count == 0:
        assert unclipped_share(0.0, units, 5.0) == 0.5
        return
    votes = math.floor(VOTE * units) * (unclipped - clipped)
    assert unclipped_share(votes, units, count) == pytest.approx(unclipped / count, abs=0.01)


def test_the_share_does_not_tell_how_many_were_drawn():
    """It is over the expected number, which is public: as many votes for as against read as a half."""
    assert unclipped_share(0.0, 1 << 16, 100.0) == 0.5


@given(st.floats(0.01, 0.99), st.floats(0, 1), st.floats(0.1, 10))
def test_the_norm_rises_when_too_many_are_clipped_and_falls_when_too_few(quantile, unclipped, used):
    following = next_clip_norm(recipe(quantile), used, unclipped)
    assert following == pytest.approx(used * math.exp(-0.2 * (unclipped - quantile)))
    assert (following > used) == (unclipped < quantile) or math.isclose(following, used)


@given(st.floats(allow_nan=False), st.floats(0.01, 100))
def test_no_noise_drives_it_out_of_the_allowed_range_nor_by_more_than_the_rate(unclipped, used):
    following = next_clip_norm(recipe(), used, unclipped)
    assert is_allowed(recipe(), following)
    assert math.exp(-0.2) <= following / used * (1 + 1e-12)
    assert following / used <= math.exp(0.2) * (1 + 1e-12)


def test_the_norm_finds_the_quantile_of_the_norms_there_are():
    norms = np.random.default_rng(0).lognormal(1.0, 0.5, 1000)
    for quantile in (0.2, 0.5, 0.9):
        norm = 1.0
        for _ in range(200):
            norm = next_clip_norm(recipe(quantile), norm, float((norms <= norm).mean()))
        assert norm == pytest.approx(np.quantile(norms, quantile), rel=0.02)


def test_without_adaptive_clipping_the_norm_stays():
    assert next_clip_norm(recipe(None), 0.7, 0.1) == 0.7
    assert next_clip_norm(recipe(0.5), 0.7, None) == 0.7


def test_an_order_may_name_the_recipe_s_norm_or_one_within_a_hundredfold_if_it_adapts():
    fixed, adaptive = recipe(None, 2.0), recipe(0.5, 2.0)
    assert is_allowed(fixed, 2.0)
    assert not is_allowed(fixed, 2.0000001)
    assert is_allowed(adaptive, 0.02)
    assert is_allowed(adaptive, 200.0)
    assert not is_allowed(adaptive, 0.0199)
    assert not is_allowed(adaptive, 200.1)
    assert not is_allowed(adaptive, math.nan)
