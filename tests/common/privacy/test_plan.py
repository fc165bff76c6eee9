"""What a recipe's rounds and evaluations cost: within its promise, and no more noise than that takes."""

from __future__ import annotations

import dataclasses

import pytest

from sealora_common.errors import BudgetError, RecipeError
from sealora_common.privacy.accounting import Mechanism, epsilon_pld
from sealora_common.privacy.plan import heldout_mechanism, training_mechanism
from sealora_common.recipe import Recipe, parse_recipe
from sealora_common.round.sum_grid import SumGrid

LOCAL = ("training.steps_per_round=3", "training.sample_rate=0.1")
SHARED = (
    "privacy.mechanism=distributed",
    "training.steps_per_round=1",
    "sealing.ring_bits=24",
    "training.sample_rate=0.1",
)


def recipe(*overrides: str) -> Recipe:
    return parse_recipe("name: test\nrounds: 10\nmodel: {base: b}\n", overrides=overrides)


def spent(mechanism: Mechanism, rounds: int, delta: float) -> float:
    return epsilon_pld([dataclasses.replace(mechanism, steps=mechanism.steps * rounds)], delta)


def quieter(mechanism: Mechanism) -> Mechanism:
    return dataclasses.replace(mechanism, noise_multiplier=mechanism.noise_multiplier - 1e-4)


@pytest.mark.parametrize("overrides", [LOCAL, SHARED, (*SHARED, "privacy.spare_rounds=5", "privacy.epsilon=2")])
def test_all_rounds_and_the_spare_ones_cost_no_more_than_the_recipe_promises(overrides):
    own = recipe(*overrides)
    mechanism = training_mechanism(own, 3)
    rounds = own.accounted_rounds
    assert spent(mechanism, rounds, own.privacy.delta) <= own.privacy.epsilon
    assert spent(quieter(mechanism), rounds, own.privacy.delta) > own.privacy.epsilon
    assert (mechanism.sample_rate, mechanism.steps) == (0.1, own.training.steps_per_round)


def test_a_distributed_round_is_charged_as_the_skellam_noise_it_adds():
    own = recipe(*SHARED)
    mechanism = training_mechanism(own, 3)
    assert (mechanism.noise, mechanism.units, mechanism.steps) == ("skellam", SumGrid.of(own, 3).units, 1)
    assert training_mechanism(recipe(*LOCAL), 3).noise == "gaussian"
    assert training_mechanism(recipe(*LOCAL), 3) == training_mechanism(recipe(*LOCAL), 30)


@pytest.mark.parametrize("overrides", [(), ("training.evaluate_every=4",), (*SHARED, "privacy.spare_rounds=2")])
def test_all_evaluations_together_cost_a_heldout_record_no_more_than_the_recipe_promises(overrides):
    own = recipe(*overrides)
    mechanism = heldout_mechanism(own)
    assert (mechanism.sample_rate, mechanism.steps, mechanism.noise) == (1.0, 1, "gaussian")
    assert spent(mechanism, own.accounted_evaluations, own.privacy.delta) <= own.privacy.epsilon
    assert spent(quieter(mechanism), own.accounted_evaluations, own.privacy.delta) > own.privacy.epsilon


def test_without_privacy_there_is_nothing_to_charge():
    none = recipe("privacy.mechanism=none")
    assert training_mechanism(none, 3) is None
    assert heldout_mechanism(none) is None


def test_what_cannot_be_had_is_refused():
    with pytest.raises(BudgetError, match="no amount of noise"):
        training_mechanism(recipe("privacy.epsilon=1e-9", "privacy.delta=1e-12"), 3)
    with pytest.raises(RecipeError, match="honest_survivors is 4"):
        training_mechanism(recipe(*SHARED, "privacy.honest_survivors=4"), 3)
