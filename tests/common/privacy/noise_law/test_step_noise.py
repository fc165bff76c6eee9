"""The noise and the reach of a step's mean gradient, against sums that are laid out, opened and read as a round's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.entropy import SeededEntropy
from sealora_common.privacy.noise_law import step_noise
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import load_recipe
from sealora_common.round.contribution import Contribution, ContributionLayout, site_weight
from sealora_common.secagg import OpenedSum, RingVector

CONFIGS = Path(__file__).parents[4] / "configs"
PARAMETERS = 4
TRAINED = AdapterLayout((TensorSpec("m.lora_B.weight", (PARAMETERS,)),))


def recipe_for(mechanism: str, *overrides: str):
    name = {"distributed": "demo-icd10-distributed.yaml"}.get(mechanism, "demo-icd10.yaml")
    wanted = (f"privacy.mechanism={mechanism}", "training.sample_rate=0.05", "training.steps_per_round=1")
    unit = "privacy.clip_norm=1.0"  # figures are in units of C, and what a round reads is not
    return load_recipe(CONFIGS / name, [*wanted, unit, "sealing.ring_bits=32", *overrides])


def opened_mean(recipe, units, values):
    """The mean gradient that a round reads of sites that put these integers, or deltas, into its sum."""
    layout = ContributionLayout.of(recipe, TRAINED, len(units), evaluates=False, clip_range=64.0)
    total = RingVector.zeros(layout.segments)
    for count, own in zip(units, values, strict=True):
        total.add_(layout.encode(Contribution(own, site_weight(recipe, count)), SeededEntropy("round")))
    total.reduce_()
    return -layout.decode(OpenedSum(total, tuple(range(len(units))))).mean_delta


@pytest.mark.parametrize("units", [(2900, 2371, 3558), (9000, 60, 60), (60, 60, 60)])
def test_the_reach_of_a_distributed_step_is_what_a_round_reads_of_units_that_pull_one_way(units):
    recipe = recipe_for("distributed")
    grid = privacy_plan(recipe, 3).training.grid
    # A hundredth of them on one coordinate, which a round holds to what gradients do to one.
    sums = [np.array([round(0.05 * n * grid.grid_steps / 100), 0, 0, 0]) for n in units]
    longest = 100 * np.linalg.norm(opened_mean(recipe, units, sums))
    assert step_noise(recipe, units).reach == pytest.approx(longest, rel=1e-6)


def test_the_noise_of_a_distributed_step_is_what_a_round_reads_of_shares_of_it():
    units, recipe = (2900, 2371, 60), recipe_for("distributed")
    plan = privacy_plan(recipe, 3).training
    share = math.sqrt(plan.grid.noise_variance(plan.event.noise_multiplier))
    # Coordinates of as many independent shares as there are sites: a share of one site each, the rest without.
    sums = [np.array([round(share) if at == site else 0 for at in range(PARAMETERS)]) for site in range(3)]
    read = np.linalg.norm(opened_mean(recipe, units, sums))
    assert step_noise(recipe, units).noise == pytest.approx(read, rel=1e-6)


def test_the_noise_of_a_local_step_is_that_of_the_sealed_mean_of_the_sites():
    units, recipe = (2900, 2371, 60), recipe_for("local")
    plan = privacy_plan(recipe, 3).training
    # One SGD step of rate 1 on each site's own noise, of a standard deviation, each on a coordinate of its own.
    own = [plan.event.noise_multiplier / (0.05 * n) for n in units]
    deltas = [
        np.array([-own[site] if at == site else 0.0 for at in range(PARAMETERS)], dtype=np.float32) for site in range(3)
    ]
    read = np.linalg.norm(opened_mean(recipe, units, deltas))
    step = step_noise(recipe, units)
    assert step.noise == pytest.approx(read, rel=1e-5)
    assert step.reach == 1.0


def test_rate_steps_and_multiplier_are_those_of_the_plan_that_runs():
    for mechanism in ("local", "distributed"):
        recipe = recipe_for(mechanism)
        plan, step = privacy_plan(recipe, 3).training, step_noise(recipe, (100, 200, 300))
        assert (step.sample_rate, step.noise_multiplier) == (plan.sample_rate, plan.event.noise_multiplier)
        assert step.steps == recipe.rounds * plan.steps
        assert step.expected == tuple(plan.expected_batch(n) for n in (100, 200, 300))


def test_without_privacy_there_is_no_noise():
    step = step_noise(recipe_for("none"), (100, 100, 100))
    assert (step.noise, step.noise_in_units, step.norm(10**6)) == (0.0, 0.0, 0.0)


def test_votes_take_their_part_of_the_reach_and_none_of_the_noise():
    plain, voting = (
        step_noise(recipe_for("local", "training.optimizer=adamw", *more), (1000,) * 3)
        for more in ((), ("privacy.target_quantile=0.5",))
    )
    assert voting.noise == plain.noise
    assert voting.reach == pytest.approx(math.sqrt(0.99), rel=1e-6)


def test_in_units_of_one_record_the_noise_follows_from_the_rate_and_not_from_the_size_of_the_sites():
    recipe = recipe_for("distributed")
    small, large = (step_noise(recipe, (n,) * 3).noise_in_units for n in (60, 3000))
    assert small == pytest.approx(large, rel=1e-9)
    sigma, honest = privacy_plan(recipe, 3).training.event.noise_multiplier, 2
    assert large == pytest.approx(sigma * math.sqrt(3 / honest) / 0.05, rel=1e-9)


@pytest.mark.parametrize("units", [(), (10, 0, 10)])
def test_a_site_without_units_is_no_site(units):
    with pytest.raises(ValueError, match="one unit or more"):
        step_noise(recipe_for("local"), units)
