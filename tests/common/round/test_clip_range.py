from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.recipe import Recipe
from sealora_common.round.clip_range import initial_range, is_allowed_range, next_range
from sealora_common.secagg.rotation import BLOCK, rotate

sums = st.lists(st.floats(-1e3, 1e3), max_size=20).map(np.array)
fractions = st.floats(0, 1)


def recipe(**sections) -> Recipe:
    values = {
        "name": "r",
        "rounds": 3,
        "model": {"base": "none"},
        "training": {"learning_rate": 0.01, "steps_per_round": 4, **sections.pop("training", {})},
        **sections,
    }
    return Recipe.model_validate(values)


AUTO, FIXED, ROTATED = recipe(), recipe(sealing={"clip_range": 0.25}), recipe(sealing={"rotation": True})
WIDEST = 0.06


def test_the_first_range_follows_from_the_recipe():
    assert initial_range(AUTO) == pytest.approx(1.5 * 4 * 0.01) == WIDEST
    sgd = recipe(training={"optimizer": "sgd"}, privacy={"clip_norm": 0.5})
    assert initial_range(sgd) == pytest.approx(WIDEST / 2)
    assert initial_range(FIXED) == 0.25


@given(st.floats(0.01, 0.99), st.integers(1, 12))
def test_with_momentum_it_is_as_far_as_torch_s_sgd_goes_on_equal_gradients(momentum, steps):
    own = recipe(training={"optimizer": "sgd", "learning_rate": 0.1, "momentum": momentum, "steps_per_round": steps})
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=momentum)
    for _ in range(steps):
        weight.grad = -torch.ones(1, dtype=torch.float64)
        optimizer.step()
    assert initial_range(own) == pytest.approx(1.5 * weight.item())


@pytest.mark.parametrize("own", [AUTO, ROTATED])
def test_an_order_may_name_the_ranges_that_rounds_can_come_to_and_none_beyond(own):
    widest = initial_range(own)
    for allowed in (widest, widest / 64, widest / 3):
        assert is_allowed_range(own, allowed)
    for beyond in (np.nextafter(widest, np.inf), np.nextafter(widest / 64, 0.0), 0.0, -widest, np.inf, np.nan):
        assert not is_allowed_range(own, float(beyond))


def test_where_the_recipe_fixes_the_range_an_order_may_name_that_one_alone():
    assert is_allowed_range(FIXED, 0.25)
    for other in (np.nextafter(0.25, 0.0), np.nextafter(0.25, 1.0), 0.1):
        assert not is_allowed_range(FIXED, float(other))


@given(sums, fractions)
def test_every_range_that_follows_from_a_round_may_be_ordered(total, clipped):
    for own in (AUTO, FIXED, ROTATED):
        used = initial_range(own)
        for _ in range(8):
            used = next_range(own, used, total, clipped)
            assert is_allowed_range(own, used)


def test_with_the_rotation_six_standard_deviations_of_a_full_step_fit_into_the_first_range():
    """Adam moves nearly every coordinate by the learning rate a step; rotated, that is one standard deviation."""
    moved = np.sign(np.random.default_rng(0).normal(size=16 * BLOCK)) * 4 * 0.01
    assert np.mean(np.abs(rotate(moved, "n")) > initial_range(ROTATED)) < 1e-6
    assert np.mean(np.abs(rotate(moved, "n")) > initial_range(AUTO)) > 0.1


@given(sums, fractions, st.floats(1e-3, 1))
def test_no_later_range_is_wider_than_the_first_nor_narrower_than_a_sixty_fourth(total, clipped, used):
    for each in (AUTO, ROTATED):
        widest = initial_range(each)
        following = next_range(each, widest * used, total, clipped)
        assert min(2 * used, 1 / 64) * widest * (1 - 1e-12) <= following <= widest


@given(sums, fractions, st.floats(1e-3, 1))
def test_a_range_that_the_recipe_fixes_stays(total, clipped, used):
    assert next_range(FIXED, used, total, clipped) == 0.25


@given(st.floats(0.002, 0.04))
def test_the_range_follows_the_largest_coordinate_of_the_sum(largest):
    total = np.array([0.001, -largest, 0.0])
    assert next_range(AUTO, WIDEST, total, 0.0) == pytest.approx(1.25 * largest)


def test_the_range_goes_with_the_learning_rate():
    same = next_range(AUTO, WIDEST, np.array([0.01]), 0.0)
    assert next_range(AUTO, WIDEST, np.array([0.01]), 0.0, 2.0) == pytest.approx(2 * same)
    assert next_range(AUTO, WIDEST, np.array([0.01]), 0.0, 0.5) == pytest.approx(same / 2)
    assert next_range(AUTO, WIDEST / 16, np.zeros(3), 1.0, 3.0) == pytest.approx(WIDEST * 6 / 16)
    # One that clipped already is made no narrower: an order could not name it.
    assert next_range(AUTO, WIDEST / 64, np.zeros(3), 1.0, 0.1) == pytest.approx(WIDEST / 32)


@given(st.floats(2e-3, 1), st.floats(1.1e-3, 1))
def test_when_more_than_a_thousandth_was_clipped_the_range_doubles(used, clipped):
    used *= WIDEST
    assert next_range(AUTO, used, np.zeros(3), clipped) == pytest.approx(min(WIDEST, 2 * used))


def test_a_thousandth_is_not_too_much():
    assert next_range(AUTO, WIDEST / 8, np.array([0.01]), 1e-3) == pytest.approx(0.0125)


def test_a_sum_of_nothing_narrows_the_range_to_its_floor():
    for total in (np.zeros(0), np.zeros(5)):
        assert next_range(AUTO, WIDEST, total, 0.0) == pytest.approx(WIDEST / 64)
        assert next_range(ROTATED, WIDEST, total, 0.0) == pytest.approx(initial_range(ROTATED) / 64)


def test_ranges_that_double_reach_the_widest_in_six_rounds():
    used = WIDEST / 64
    for _ in range(6):
        used = next_range(AUTO, used, np.zeros(3), 1.0)
    assert used == WIDEST


@pytest.mark.parametrize("length", [100, BLOCK, 16 * BLOCK])
@pytest.mark.parametrize("spread", ["even", "first hundred"])
def test_with_the_rotation_the_range_fits_the_block_with_most_energy(length, spread):
    """Six of its standard deviations: with the mean over all blocks, one full block would be clipped in turns."""
    total = np.random.default_rng(1).normal(size=length) * 1e-3
    if spread != "even":
        total[100:] = 0
    rotated = rotate(total, "n")
    largest = np.sqrt(np.mean(rotated.reshape(-1, BLOCK) ** 2, axis=1).max())
    wide = recipe(sealing={"rotation": True}, training={"learning_rate": 0.001})
    following = next_range(wide, 1.0, total, 0.0)
    assert following == pytest.approx(max(6 * largest, initial_range(wide) / 64))
    assert np.abs(rotated).max() < following
