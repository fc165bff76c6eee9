"""Schedules of the learning rate, held to transformers' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import get_scheduler

from sealora_common.recipe import Recipe
from sealora_common.round.learning_rate import growth_of_steps, learning_rate, rate_factor, server_learning_rate

TRANSFORMERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
schedules = st.sampled_from(list(TRANSFORMERS))


def recipe(rounds: int = 5, steps: int = 4, mechanism: str = "local", **training: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "r",
            "rounds": rounds,
            "model": {"base": "none"},
            "training": {"steps_per_round": steps, "learning_rate": 0.01, **training},
            "privacy": {"mechanism": mechanism},
            "sealing": {"ring_bits": 24},
            "server": {"learning_rate": 0.5},
        }
    )


def learning_rates(own: Recipe, number: int) -> list[float]:
    return [learning_rate(own, number, step) for step in range(own.training.steps_per_round)]


def of_transformers(name: str, warmup: int, steps: int) -> list[float]:
    """Factors of `steps` steps, as a loop of torch has them: step, then scheduler."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    factors = []
    for _ in range(steps):
        factors.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return factors


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_without_warmup_they_are_those_of_transformers(name):
    own = recipe(schedule=name)
    assert [rate_factor(own, step) for step in range(20)] == pytest.approx(of_transformers(TRANSFORMERS[name], 0, 20))


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize("warmup", [1, 3, 19])
def test_with_warmup_they_are_those_of_transformers_but_for_the_first_step_at_rate_zero(name, warmup):
    own = recipe(schedule=name, warmup_steps=warmup)
    zero, *expected = of_transformers(TRANSFORMERS[name], warmup + 1, 21)
    assert zero == 0.0
    assert [rate_factor(own, step) for step in range(20)] == pytest.approx(expected)


@given(schedules, st.integers(1, 20), st.integers(1, 5), st.data())
def test_no_step_is_for_nothing_and_one_is_at_the_full_rate(name, rounds, steps, data):
    warmup = data.draw(st.integers(0, rounds * steps - 1))
    own = recipe(rounds, steps, schedule=name, warmup_steps=warmup)
    factors = [rate_factor(own, step) for step in range(own.steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[warmup] == 1.0
    assert sorted(factors[: warmup + 1]) == factors[: warmup + 1]
    assert sorted(factors[warmup:], reverse=True) == factors[warmup:]


@given(schedules, st.integers(1, 12), st.integers(1, 5))
def test_rounds_follow_one_another_without_a_seam(name, rounds, steps):
    cut, whole = recipe(rounds, steps, schedule=name), recipe(rounds * steps, 1, schedule=name)
    rates = [rate for number in range(1, rounds + 1) for rate in learning_rates(cut, number)]
    assert rates == [rate for number in range(1, rounds * steps + 1) for rate in learning_rates(whole, number)]


def test_a_warmup_as_long_as_the_run_is_refused():
    assert recipe(5, 4, warmup_steps=19).training.warmup_steps == 19
    with pytest.raises(ValidationError, match=r"warmup_steps is 20, but the whole run has 20 steps .* take fewer"):
        recipe(5, 4, warmup_steps=20)


def test_the_server_s_rate_goes_with_the_schedule_where_the_server_takes_the_step():
    distributed = recipe(4, 1, "distributed", schedule="linear")
    assert [server_learning_rate(distributed, number) for number in range(1, 5)] == [0.5, 0.375, 0.25, 0.125]
    for mechanism in ("local", "none"):
        assert server_learning_rate(recipe(4, 1, mechanism, schedule="linear"), 4) == 0.5


@pytest.mark.parametrize(("settings", "growth"), [({}, 1.0), ({"schedule": "linear"}, 0.5), ({"warmup_steps": 1}, 2.0)])
def test_the_next_round_s_steps_are_longer_or_shorter_by_the_schedule_alone(settings, growth):
    own = recipe(2, 1, **settings)
    assert [growth_of_steps(own, number) for number in (1, 2)] == [growth, 1.0]


def test_the_steps_of_a_constant_rate_are_the_recipe_s_to_the_last_bit():
    own = recipe(learning_rate=0.1 + 0.2)
    assert set(np.array([learning_rates(own, number) for number in range(1, 6)]).ravel()) == {0.1 + 0.2}
