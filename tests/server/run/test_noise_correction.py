from __future__ import annotations

import math

import numpy as np
import pytest
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.privacy.noise_law import step_noise
from sealora_common.privacy.plan import privacy_plan
from sealora_common.round.contribution import OpenedRound
from sealora_server.run.noise_correction import known_noise
from sealora_server.run.server_optimizer import ServerOptimizer

from pure_sites import pure_recipe

NODES = (11, 12, 13)
BETAS = (0.6, 0.95)
RATE, TAU = 0.05, 1e-8
ADAM = {"optimizer": "fedadam", "learning_rate": RATE, "momentum": BETAS[0], "beta_2": BETAS[1], "tau": TAU}
SHARED = {
    "training": {"sample_rate": 0.1, "steps_per_round": 1},
    "privacy": {"mechanism": "distributed", "clip_norm": 0.5, "epsilon": 8.0, "delta": 1e-4},
    "sealing": {"ring_bits": 32, "weight_cap": 1000, "clip_range": "auto"},
}


@pytest.fixture(autouse=True, scope="module")
def flower_task():
    """Flower stamps every message with the task of the process."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1


def walk(gradients, stds, *, corrected=True, resumed_at=None, start=0.0):
    """The adapter after each of so many rounds, whose means are the negated gradients with noise of these sizes."""
    recipe = pure_recipe(rounds=len(stds), server={**ADAM, "noise_correction": corrected}, **SHARED)
    optimizer, adapter, found = ServerOptimizer(recipe), np.full_like(gradients[0], start), []
    for number, (gradient, std) in enumerate(zip(gradients, stds, strict=True), start=1):
        if number == resumed_at:
            optimizer = ServerOptimizer(recipe, {name: value.copy() for name, value in optimizer.state.items()})
        optimizer.chosen("train", number, adapter, NODES)
        adapter = optimizer.step(number, adapter - gradient, noise_std=std)
        found.append(adapter)
    return found


def by_hand(gradients, stds):
    """DP-AdamBC in float64, of moments that begin at 0, its steps as long as those of Adam in Flower's form."""
    adapter, first, second, noise, found = np.zeros(len(gradients[0])), 0.0, 0.0, 0.0, []
    for number, (gradient, std) in enumerate(zip(gradients.astype(np.float64), stds, strict=True), start=1):
        first = BETAS[0] * first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
        noise = BETAS[1] * noise + (1 - BETAS[1]) * std**2
        rate = RATE * math.sqrt(1 - BETAS[1] ** (number + 1)) / (1 - BETAS[0] ** (number + 1))
        plain = rate * first / (np.sqrt(second) + TAU)
        step = first / (np.sqrt(np.maximum(second - noise, noise)) + TAU)
        adapter = adapter - step * math.sqrt((plain**2).sum() / (step**2).sum())
        found.append(adapter)
    return found


@pytest.fixture
def gradients():
    return np.random.default_rng(3).normal(scale=0.1, size=(6, 50)).astype(np.float32)


def test_steps_are_those_of_the_paper_s_second_moment(gradients):
    stds = [0.05, 0.08, 0.02, 0.0, 0.06, 0.05]
    for found, expected in zip(walk(gradients, stds), by_hand(gradients, stds), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_without_noise_they_are_fedadam_s_to_the_bit(gradients):
    # From a start that steps are longer than, an addition loses what a subtraction does not give back.
    corrected, plain = (walk(gradients, [0.0] * 6, corrected=each, start=0.0137) for each in (True, False))
    np.testing.assert_array_equal(corrected, plain)


def test_fedadam_itself_takes_no_notice_of_noise(gradients):
    with_noise, without = (walk(gradients, [std] * 6, corrected=False) for std in (0.05, 0.0))
    np.testing.assert_array_equal(with_noise, without)


@pytest.mark.parametrize("resumed_at", [2, 4])
def test_one_that_was_resumed_goes_on_as_if_it_had_not_been(gradients, resumed_at):
    stds = [0.05, 0.08, 0.02, 0.0, 0.06, 0.05]
    whole, resumed = walk(gradients, stds), walk(gradients, stds, resumed_at=resumed_at)
    np.testing.assert_array_equal(whole, resumed)


@given(
    st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=4),
    st.lists(st.floats(0, 10), min_size=2, max_size=2),
)
def test_a_step_is_as_long_as_fedadam_s_and_no_coordinate_goes_the_other_way(values, stds):
    gradients = np.array(values, dtype=np.float32).reshape(2, 2)
    plain, corrected = walk(gradients[:1], stds[:1], corrected=False)[0], walk(gradients[:1], stds[:1])[0]
    assert np.linalg.norm(corrected) == pytest.approx(np.linalg.norm(plain), rel=1e-5)
    assert (corrected * plain >= 0).all()
    assert np.isfinite(walk(gradients, stds)[-1]).all()


def test_a_coordinate_with_a_gradient_is_told_from_one_that_is_noise():
    generator, size = np.random.default_rng(9), 20_000
    signal = np.repeat([0.0, 3.0], size)  # in standard deviations of the noise
    gradients = (signal + generator.normal(size=(5, 2 * size))).astype(np.float32)
    moved = -walk(gradients, [1.0] * 5)[-1]
    plain = -walk(gradients, [1.0] * 5, corrected=False)[-1]
    # Adam makes steps of signal and of noise more alike than they are; less so without the noise's second moment.
    share, before = (np.abs(each[size:]).mean() / np.abs(each[:size]).mean() for each in (moved, plain))
    assert share > 1.05 * before


def opened(survivors, weight):
    return OpenedRound(tuple(range(survivors)), np.zeros(3), None, 0.0, weight)


def recipe_with(*, corrected=True, **sections):
    return pure_recipe(rounds=4, server={**ADAM, "noise_correction": corrected}, **{**SHARED, **sections})


def test_what_is_known_is_what_the_plan_says_of_a_step_when_all_survive():
    recipe, units = recipe_with(), (900, 700, 400)
    wanted = step_noise(recipe, units).noise * recipe.privacy.clip_norm
    assert known_noise(recipe, 3, opened(3, 2.0), recipe.privacy.clip_norm) == pytest.approx(wanted, rel=1e-12)


def test_it_is_the_multiplier_s_on_the_batch_expected_of_the_survivors():
    recipe = recipe_with(privacy={**SHARED["privacy"], "honest_survivors": 2})
    sigma = privacy_plan(recipe, 4).training.event.noise_multiplier
    # Three of four survive, with 1500 records in all; the round's C is not the recipe's.
    wanted = sigma * 0.25 * math.sqrt(3 / 2) / (0.1 * 1500)
    assert known_noise(recipe, 4, opened(3, 1.5), 0.25) == pytest.approx(wanted, rel=1e-12)


def test_nothing_is_known_where_it_is_not_asked_for_or_where_there_is_no_noise():
    assert known_noise(recipe_with(corrected=False), 3, opened(3, 2.0), 0.5) == 0.0
    assert known_noise(recipe_with(privacy={"mechanism": "none", "clip_norm": 0.5}), 3, opened(3, 2.0), 0.5) == 0.0
