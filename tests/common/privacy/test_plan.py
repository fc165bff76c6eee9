"""What a recipe's rounds and evaluations cost: within its promise, and no more noise than that takes."""

from __future__ import annotations

import dataclasses

import pytest

from sealora_common.errors import BudgetError, RecipeError
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.releases import HeldoutPlan, TrainingPlan
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


def spent(mechanism: PrivacyEvent, rounds: int, delta: float) -> float:
    return epsilon_pld([dataclasses.replace(mechanism, steps=mechanism.steps * rounds)], delta)


def quieter(mechanism: PrivacyEvent) -> PrivacyEvent:
    return dataclasses.replace(mechanism, noise_multiplier=mechanism.noise_multiplier - 1e-4)


@pytest.mark.parametrize("overrides", [LOCAL, SHARED, (*SHARED, "privacy.spare_rounds=5", "privacy.epsilon=2")])
def test_all_rounds_and_the_spare_ones_cost_no_more_than_the_recipe_promises(overrides):
    own = recipe(*overrides)
    mechanism = privacy_plan(own, 3).training.event
    rounds = own.accounted_rounds
    assert spent(mechanism, rounds, own.privacy.delta) <= own.privacy.epsilon
    assert spent(quieter(mechanism), rounds, own.privacy.delta) > own.privacy.epsilon
    assert (mechanism.sample_rate, mechanism.steps) == (0.1, own.training.steps_per_round)


def test_a_distributed_round_is_charged_as_the_skellam_noise_it_adds():
    own = recipe(*SHARED)
    mechanism = privacy_plan(own, 3).training.event
    assert (mechanism.noise, mechanism.grid_steps, mechanism.steps) == ("skellam", SumGrid.of(own, 3).grid_steps, 1)
    assert privacy_plan(recipe(*LOCAL), 3).training.event.noise == "gaussian"
    assert privacy_plan(recipe(*LOCAL), 3).training.event == privacy_plan(recipe(*LOCAL), 30).training.event


@pytest.mark.parametrize("overrides", [(), ("training.evaluate_every=4",), (*SHARED, "privacy.spare_rounds=2")])
def test_all_evaluations_together_cost_a_heldout_record_no_more_than_the_recipe_promises(overrides):
    own = recipe(*overrides)
    mechanism = privacy_plan(own, 3).heldout.event
    assert (mechanism.sample_rate, mechanism.steps, mechanism.noise) == (1.0, 1, "gaussian")
    assert spent(mechanism, own.accounted_evaluations, own.privacy.delta) <= own.privacy.epsilon
    assert spent(quieter(mechanism), own.accounted_evaluations, own.privacy.delta) > own.privacy.epsilon


def test_without_privacy_there_is_nothing_to_charge():
    plan = privacy_plan(recipe("privacy.mechanism=none", *LOCAL), 3)
    assert plan.charges == ()
    assert (plan.charge("train"), plan.charge("heldout")) == (None, None)
    assert not plan.training.protects
    assert not plan.heldout.protects
    assert (plan.training.sample_rate, plan.training.steps, plan.training.noise_std) == (0.1, 3, 0.0)


@pytest.mark.parametrize("overrides", [LOCAL, (*SHARED, "privacy.spare_rounds=5", "training.evaluate_every=4")])
def test_what_is_charged_is_what_runs(overrides):
    own = recipe(*overrides)
    plan = privacy_plan(own, 3)
    train, heldout = plan.charges
    assert (train, heldout) == (plan.charge("train"), plan.charge("heldout"))
    assert (train.event, heldout.event) == (plan.training.event, plan.heldout.event)
    assert (train.times, heldout.times) == (own.accounted_rounds, own.accounted_evaluations)
    assert train.whole_run == dataclasses.replace(train.event, steps=own.accounted_steps)
    assert heldout.once
    assert train.once == (own.privacy.mechanism == "local")
    shared = plan.training.grid
    if shared is not None:  # the shares of the honest survivors are the noise that is accounted for
        shares = shared.honest_survivors * shared.noise_variance(train.event.noise_multiplier)
        assert shares == pytest.approx(plan.training.noise_std**2)


EVENT = PrivacyEvent(1.0, 0.1, 1)
GRID = SumGrid(grid_steps=1 << 12, site_limit=8 << 12, bits=24, honest_survivors=3)


@pytest.mark.parametrize(
    ("event", "units", "grid"),
    [
        (EVENT, 0, None),
        (PrivacyEvent(0.0, 0.1, 1), 1 << 24, None),
        (EVENT, 1 << 12, GRID),
        (PrivacyEvent(1.0, 0.1, 1, "skellam", 1 << 12), 1 << 12, None),
        (PrivacyEvent(1.0, 0.1, 1, "skellam", 1 << 11), 1 << 12, GRID),
        (PrivacyEvent(1.0, 0.1, 1, "skellam", 1 << 12), 1 << 11, GRID),
    ],
)
def test_no_plan_sums_on_another_grid_than_its_event_is_of(event, units, grid):
    with pytest.raises(BudgetError):
        TrainingPlan.of(recipe(), event, units, grid)


def test_votes_are_planned_under_noise_only():
    own = recipe("privacy.target_quantile=0.5")
    assert TrainingPlan.of(own, EVENT, 1 << 24).votes
    with pytest.raises(BudgetError, match="nothing clips"):
        TrainingPlan.of(own, PrivacyEvent(0.0, 0.1, 1), 0)


@pytest.mark.parametrize(
    "event", [PrivacyEvent(1.0, 0.5, 1), PrivacyEvent(1.0, 1.0, 2), PrivacyEvent(1.0, 1.0, 1, "skellam", 4)]
)
def test_an_evaluation_is_accounted_with_everybody_in_it(event):
    with pytest.raises(BudgetError, match="every held-out unit"):
        HeldoutPlan(event)


def test_what_cannot_be_had_is_refused():
    with pytest.raises(BudgetError, match="no amount of noise"):
        privacy_plan(recipe("privacy.epsilon=1e-9", "privacy.delta=1e-12"), 3)
    with pytest.raises(RecipeError, match="honest_survivors is 4"):
        privacy_plan(recipe(*SHARED, "privacy.honest_survivors=4"), 3)
