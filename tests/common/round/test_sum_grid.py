"""The integer grid of a distributed sum: it holds what a round may put on it, and says whose noise it counts on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.errors import RecipeError, SealoraError
from sealora_common.privacy.accounting import PrivacyEvent, calibrate_noise, epsilon_rdp
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import VOTE
from sealora_common.round.sum_grid import SumGrid, _largest_noise_multiplier, honest_survivors
from sealora_common.secagg import threshold_for


def recipe(rounds: int = 50, **sections: dict) -> Recipe:
    values = {
        "name": "r",
        "rounds": rounds,
        "model": {"base": "none"},
        "training": {"steps_per_round": 1, **sections.pop("training", {})},
        "privacy": {"mechanism": "distributed", **sections.pop("privacy", {})},
        "sealing": {"ring_bits": 24, **sections.pop("sealing", {})},
        **sections,
    }
    return Recipe.model_validate(values)


@st.composite
def recipes(draw):
    privacy = {
        "epsilon": draw(st.sampled_from([0.3, 1.0, 2.0, 8.0, 50.0, 1000.0])),
        "delta": draw(st.sampled_from([1e-3, 1e-5, 1e-9])),
        "target_quantile": draw(st.sampled_from([None, 0.5])),
    }
    training = {"sample_rate": draw(st.sampled_from([0.001, 0.05, 0.5, 1.0]))}
    sealing = {
        "ring_bits": draw(st.sampled_from([20, 24, 28, 32])),
        "adversary": draw(st.sampled_from(["malicious", "curious"])),
        "weight_cap": draw(st.sampled_from([100, 10_000])),
    }
    rounds = draw(st.sampled_from([1, 10, 100, 1000]))
    return recipe(rounds, privacy=privacy, training=training, sealing=sealing), draw(st.sampled_from([3, 4, 10, 100]))


@pytest.mark.slow
@settings(max_examples=20)
@given(recipes())
def test_eight_sigma_of_any_noise_the_budget_asks_for_and_all_sites_sums_fit_into_the_ring(drawn):
    """The most noise that fits, eight times over and from a full roster, costs no more than the recipe's budget."""
    asked, sites = drawn
    try:
        grid = SumGrid.of(asked, sites)
    except RecipeError:
        return
    room = (1 << (grid.bits - 1)) - sites * grid.site_limit
    fits = room / 8 / math.sqrt(sites / grid.honest_survivors) / grid.grid_steps
    most = PrivacyEvent(fits, asked.training.sample_rate, asked.accounted_steps, "skellam", grid.grid_steps)
    assert epsilon_rdp([most], asked.privacy.delta) <= asked.privacy.epsilon
    assert grid.site_limit >= 8 * grid.grid_steps
    if asked.privacy.target_quantile is not None:
        batch = asked.training.sample_rate * asked.sealing.weight_cap
        assert grid.site_limit >= math.floor(1.25 * batch) * math.floor(VOTE * grid.grid_steps)
    assert 1 << 10 <= grid.grid_steps <= 1 << 26
    assert grid.grid_steps & (grid.grid_steps - 1) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("epsilon", "delta", "rounds", "most"), [(1000.0, 1e-9, 1, 1.2), (8.0, 1e-5, 100, 1.3)])
def test_the_noise_it_allows_for_is_a_little_more_than_any_sampling_rate_asks_for(epsilon, delta, rounds, most):
    asked = recipe(rounds, privacy={"epsilon": epsilon, "delta": delta}, training={"sample_rate": 1.0})
    needed = calibrate_noise(epsilon, delta, 1.0, rounds)
    assert 1.05 * needed < _largest_noise_multiplier(asked) < most * needed


@given(st.floats(1, 1000), st.sampled_from([3, 4, 10, 100]))
def test_eight_sigma_of_that_noise_fit_and_not_in_a_ring_half_as_wide(epsilon, sites):
    asked = recipe(privacy={"epsilon": epsilon}, sealing={"ring_bits": 30})
    grid = SumGrid.of(asked, sites)
    noise = _largest_noise_multiplier(asked) * math.sqrt(sites / grid.honest_survivors)
    used = (8 * noise + 8 * sites) * grid.grid_steps
    assert 1 << (grid.bits - 2) < used <= 1 << (grid.bits - 1)


@pytest.mark.parametrize(("epsilon", "rounds", "sites"), [(8.0, 100, 3), (0.5, 20, 10)])
def test_so_does_the_noise_that_the_recipe_s_rounds_are_run_with(epsilon, rounds, sites):
    asked = recipe(rounds, privacy={"epsilon": epsilon}, sealing={"ring_bits": 28})
    grid, mechanism = SumGrid.of(asked, sites), privacy_plan(asked, sites).training.event
    std = math.sqrt(sites * grid.noise_variance(mechanism.noise_multiplier))
    assert 8 * std + sites * grid.site_limit <= 1 << (grid.bits - 1)
    assert (mechanism.noise, mechanism.grid_steps) == ("skellam", grid.grid_steps)


@settings(max_examples=60)
@given(recipes())
def test_a_ring_too_narrow_is_refused_with_a_width_that_serves(drawn):
    asked, sites = drawn
    narrow = asked.model_copy(update={"sealing": asked.sealing.model_copy(update={"ring_bits": 20})})
    try:
        SumGrid.of(narrow, sites)
    except RecipeError as error:
        said = str(error)
    else:
        return
    assert said.startswith("sealing.ring_bits is 20, too narrow for the noise of privacy.epsilon ")
    if "set it to" not in said:
        assert said.endswith("take fewer rounds or a larger epsilon")
        with pytest.raises(RecipeError):
            SumGrid.of(asked.model_copy(update={"sealing": asked.sealing.model_copy(update={"ring_bits": 32})}), sites)
        return
    enough = int(said.split("set it to ")[1].split(maxsplit=1)[0])
    for bits, fits in ((enough, True), (enough - 1, False)):
        again = asked.model_copy(update={"sealing": asked.sealing.model_copy(update={"ring_bits": bits})})
        if fits:
            assert SumGrid.of(again, sites).grid_steps >= 1 << 10
        else:
            with pytest.raises(RecipeError):
                SumGrid.of(again, sites)


def test_the_grid_is_the_finest_that_fits():
    coarse, fine = SumGrid.of(recipe(), 3), SumGrid.of(recipe(sealing={"ring_bits": 26}), 3)
    assert fine.grid_steps == 4 * coarse.grid_steps
    assert fine.site_limit == 8 * fine.grid_steps


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40),
    st.sampled_from([20, 21, 24, 31, 32]),
)
def test_values_come_back_from_the_ring_as_far_as_it_reaches(values, bits):
    grid = SumGrid(1 << 10, 8 << 10, bits, 3)
    numbers = np.array(values, dtype=np.int64)
    words = grid.encode(numbers)
    assert words.dtype.kind == "u"
    assert all(int(word) < 1 << bits for word in words)
    decoded = grid.decode(words)
    half = 1 << (bits - 1)
    assert all(-half <= value < half for value in decoded.tolist())
    assert all((a - b) % (1 << bits) == 0 for a, b in zip(decoded.tolist(), values, strict=True))
    assert all(a == b for a, b in zip(decoded.tolist(), values, strict=True) if -half <= b < half)


@given(st.integers(3, 200), st.sampled_from(["malicious", "curious"]), st.integers(3, 10), st.integers(0, 10))
def test_as_many_honest_survivors_are_counted_on_as_every_opened_round_has(sites, adversary, floor, more):
    sealing = {"adversary": adversary, "min_survivors": min(floor, sites)}
    asked = recipe(sealing=sealing, sites={"minimum": sites})
    counted = honest_survivors(asked, sites)
    readers = max(1, (sites - 1) // 3 if adversary == "malicious" else 0)
    for survivors in range(sites + 1):
        if survivors >= max(threshold_for(sites, adversary), sealing["min_survivors"]):  # else it is not opened
            assert 1 <= counted <= max(1, survivors - readers)
    shares = SumGrid(1 << 10, 8 << 10, 24, counted).noise_variance(2.0) * counted
    assert shares == pytest.approx((2.0 * (1 << 10)) ** 2)


@pytest.mark.parametrize(
    ("sites", "adversary", "floor", "expected"),
    [
        (3, "malicious", 3, 2),
        (4, "malicious", 3, 2),
        (10, "malicious", 3, 4),
        (10, "malicious", 9, 6),
        (10, "curious", 3, 5),
        (3, "curious", 2, 1),
        (2, "malicious", 2, 1),
    ],
)
def test_honest_survivors_by_default(sites, adversary, floor, expected):
    asked = recipe(sealing={"adversary": adversary, "min_survivors": floor}, sites={"minimum": max(2, floor)})
    assert honest_survivors(asked, sites) == expected


def test_a_recipe_may_count_on_fewer_or_on_all_survivors_but_on_no_more():
    for asked in (1, 4, 7):
        assert honest_survivors(recipe(privacy={"honest_survivors": asked}), 10) == asked
        assert SumGrid.of(recipe(privacy={"honest_survivors": asked}), 10).honest_survivors == asked
    with pytest.raises(RecipeError, match=r"honest_survivors is 8, but a round of 10 sites may be opened with 7"):
        SumGrid.of(recipe(privacy={"honest_survivors": 8}), 10)
    assert issubclass(RecipeError, SealoraError)
