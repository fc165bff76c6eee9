from __future__ import annotations

import pytest

from sealora_client.audit.claim import Claim
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import parse_recipe
from sealora_common.round.sum_grid import SumGrid

RECIPE = """
name: claim
rounds: 5
model: {base: tiny}
training: {sample_rate: 0.1, steps_per_round: 4}
privacy: {epsilon: 2.0, delta: 1.0e-5}
"""


def test_the_claim_is_what_the_rounds_that_run_are_charged():
    recipe = parse_recipe(RECIPE)
    claim = Claim.of(recipe, privacy_plan(recipe, 3).training)
    assert claim.epsilon == epsilon_pld([PrivacyEvent(claim.noise_multiplier, 0.1, 20)], 1e-5)
    assert 1.99 < claim.epsilon < 2.0


DISTRIBUTED = ["privacy.mechanism=distributed", "sealing.ring_bits=24", "training.steps_per_round=1"]


def test_spare_rounds_are_paid_for_and_not_claimed():
    recipe = parse_recipe(RECIPE, overrides=[*DISTRIBUTED, "privacy.spare_rounds=3"])
    assert Claim.of(recipe, privacy_plan(recipe, 3).training).epsilon < 1.9


def test_skellam_noise_is_claimed_to_be_worth_the_gaussian_noise_that_bounds_it():
    recipe = parse_recipe(RECIPE, overrides=DISTRIBUTED)
    claim = Claim.of(recipe, privacy_plan(recipe, 3).training)
    gaussian = epsilon_pld([PrivacyEvent(claim.noise_multiplier, 0.1, 5)], 1e-5)
    assert gaussian <= claim.epsilon == pytest.approx(gaussian, rel=1e-3)
    assert claim.epsilon <= 2.0


def test_skellam_noise_on_a_coarse_grid_is_worth_less():
    recipe = parse_recipe(RECIPE, overrides=["rounds=1"])
    coarse = Claim.of(
        recipe, TrainingPlan.of(recipe, PrivacyEvent(1.0, 1.0, 1, "skellam", grid_steps=2), 2, SumGrid(2, 16, 12, 1))
    )
    gaussian = Claim.of(recipe, TrainingPlan.of(recipe, PrivacyEvent(1.0, 1.0, 1), 2))
    assert gaussian.epsilon * 1.05 < coarse.epsilon


def test_without_privacy_there_is_no_claim():
    recipe = parse_recipe(RECIPE, overrides=["privacy.mechanism=none"])
    assert Claim.of(recipe, privacy_plan(recipe, 3).training) == Claim(None, 0.0)
