"""Which round is best, and when a run stops: a function of the figures that were told, and of nothing else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_server.run.best_round import ToldFigure, best_figure, least_improvement, stops

losses = st.lists(st.floats(0, 8), min_size=1, max_size=12)


def recipe(*, patience: int | None = None, min_delta: float | None = 0.0, mechanism: str = "none") -> Recipe:
    stopping = {"patience": patience or 1, "min_delta": min_delta} if patience or min_delta is not None else None
    return Recipe.model_validate(
        {
            "name": "r",
            "rounds": 40,
            "model": {"base": "none"},
            "privacy": {"mechanism": mechanism, "epsilon": 4.0, "heldout_clip": 6.0},
            "data": {"heldout_limit": 100},
            "server": {"early_stopping": stopping},
        }
    )


def figures(values: list[float], sites: int = 4) -> list[ToldFigure]:
    return [ToldFigure(trained, loss, sites) for trained, loss in enumerate(values)]


@given(losses)
def test_where_every_difference_counts_the_best_is_the_first_of_the_lowest(values):
    best = best_figure(recipe(), figures(values))
    assert (best.trained, best.loss) == (values.index(min(values)), min(values))


@given(losses, st.floats(0, 2))
def test_the_best_is_no_more_than_the_least_improvement_above_the_lowest(values, min_delta):
    best = best_figure(recipe(min_delta=min_delta), figures(values))
    assert best.loss - min(values) <= min_delta + 1e-12
    assert best.trained <= values.index(min(values))


@given(losses, st.integers(1, 5), st.floats(0, 2))
def test_a_run_stops_with_the_first_figure_that_makes_the_recipe_lose_patience(values, patience, min_delta):
    own = recipe(patience=patience, min_delta=min_delta)
    best, waited, expected = values[0], 0, []
    for value in values:  # Keras' EarlyStopping, whose `wait` this is
        if value < best - min_delta:
            best, waited = value, 0
        elif expected:
            waited += 1
        expected.append(waited >= patience)
    assert [stops(own, figures(values[: count + 1])) for count in range(len(values))] == expected


def test_without_early_stopping_a_run_goes_on():
    assert not stops(recipe(min_delta=None), figures([1.0, 2.0, 3.0, 4.0]))
    assert not stops(recipe(patience=1), [])


def test_without_noise_any_fall_is_an_improvement():
    one, other = figures([3.0, 2.0])
    assert least_improvement(recipe(min_delta=None), one, other) == 0.0


@pytest.mark.parametrize("patience", [None, 2])
def test_with_noise_it_must_be_twice_the_deviation_of_the_difference(patience):
    own = recipe(patience=patience, min_delta=None, mechanism="local")
    multiplier = mechanism_of(own).heldout_plan(own).event.noise_multiplier
    of_a_mean = [multiplier * 6.0 / 100 / math.sqrt(sites) for sites in (4, 3)]
    least = least_improvement(own, ToldFigure(0, 3.0, 4), ToldFigure(1, 2.0, 3))
    assert least == pytest.approx(2 * math.hypot(*of_a_mean))
    assert least > 0.05  # a figure within it tells nothing
    within, beyond = figures([3.0, 3.0 - least_improvement(own, *figures([0, 0])) * 0.99]), figures([3.0, 2.0])
    assert best_figure(own, within).trained == 0
    assert best_figure(own, beyond).trained == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_of_an_accuracy_the_highest_is_the_best(values):
    own = recipe(patience=2).model_dump(mode="json")
    own |= {"objective": {"kind": "classification"}, "evaluation": {"metric": "accuracy"}}
    own["data"] |= {"layout": "labelled", "labels": {"0": "no", "1": "yes"}}
    best = best_figure(Recipe.model_validate(own), figures(values))
    assert (best.trained, best.loss) == (values.index(max(values)), max(values))
