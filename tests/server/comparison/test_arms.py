"""The arms of a comparison: who trains on what, at equal compute, and how their rounds are summed."""

from __future__ import annotations

import numpy as np
import pytest
from linear_sites import UNITS, LinearSites, recipe_of

from sealora_common.adapter import adapter_kind
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_server.comparison.arms import arms_of, without_privacy
from sealora_server.comparison.unsealed_run import run_unsealed


def test_every_arm_draws_as_many_records_in_as_many_steps():
    recipe = recipe_of()
    arms = arms_of(recipe, UNITS)
    assert [arm.key for arm in arms] == [
        "base", "alone-a", "alone-b", "alone-c", "no-privacy", "federated", "pooled"
    ]  # fmt: skip
    trained = [arm for arm in arms if arm.kind != "base"]
    assert {arm.recipe.steps for arm in trained} == {recipe.steps}
    assert [round(arm.drawn) for arm in trained] == [180] * 6
    assert [arm.rate for arm in arms if arm.kind == "alone"] == pytest.approx([0.6, 0.3, 0.2])
    assert [arm.recipe.training.sample_rate for arm in trained] == [arm.rate for arm in trained]


def test_no_site_draws_a_record_twice_in_a_step():
    recipe = recipe_of(training={"sample_rate": 0.5})
    a, b, c = (arm for arm in arms_of(recipe, UNITS) if arm.kind == "alone")
    assert (a.rate, b.rate, c.rate) == (1.0, 1.0, 1.0)
    assert a.drawn < b.drawn < c.drawn == pytest.approx(recipe.steps * 300)


def test_all_but_the_federation_are_without_privacy_under_the_recipe_s_own_server():
    recipe = recipe_of(training={"sample_rate": 0.1, "steps_per_round": 2, "learning_rate": 0.5})
    for arm in arms_of(recipe, UNITS):
        assert mechanism_of(arm.recipe).protects is (arm.kind == "federated")
        assert arm.sealed is (arm.kind == "federated")
        assert arm.server is recipe
        assert arm.recipe.training.learning_rate == 0.5


def test_a_recipe_without_privacy_has_no_arm_without_it():
    assert "no-privacy" not in [arm.key for arm in arms_of(recipe_of(privacy={"mechanism": "none"}), UNITS)]


def test_where_the_server_steps_a_site_s_part_becomes_its_plain_gradient_and_the_schedule_stays_at_the_server():
    recipe = recipe_of(
        training={"sample_rate": 0.1, "steps_per_round": 1, "schedule": "linear", "learning_rate": 0.3},
        privacy={"mechanism": "distributed", "spare_rounds": 1, "target_quantile": 0.5},
        sealing={"ring_bits": 24},
    )
    plain = without_privacy(recipe)
    assert (plain.training.optimizer, plain.training.learning_rate) == ("sgd", 1.0)
    assert plain.training.is_constant
    assert plain.privacy.target_quantile is None
    assert plain.privacy.spare_rounds == 0
    assert arms_of(recipe, UNITS)[-1].server.training.schedule == "linear"


def test_a_step_of_all_sites_is_the_mean_by_records_and_pooled_records_make_the_same():
    recipe, sites = recipe_of(), LinearSites()
    arms = {arm.key: arm for arm in arms_of(recipe, UNITS)}
    results = {key: run_unsealed(sites, arms[key], 0) for key in ("no-privacy", "federated", "pooled", "alone-a")}
    # Half of the way to the mean place, 17/6 by records, three times.
    expected = 17 / 6 * (1 - 0.5**3)
    np.testing.assert_allclose(results["pooled"].adapter, expected, rtol=1e-6)
    np.testing.assert_allclose(results["no-privacy"].adapter, expected, rtol=1e-6)
    np.testing.assert_allclose(results["federated"].adapter, expected, rtol=1e-3)  # rounded on the ring
    assert not np.array_equal(results["federated"].adapter, results["no-privacy"].adapter)
    np.testing.assert_allclose(results["alone-a"].adapter, 1 - 0.5**3, rtol=1e-6)


def test_the_base_arm_trains_nothing():
    recipe, sites = recipe_of(), LinearSites()
    result = run_unsealed(sites, arms_of(recipe, UNITS)[0], 0)
    kind = adapter_kind(recipe)
    np.testing.assert_array_equal(result.adapter, kind.shared(sites.layout).flatten(kind.initial(sites.layout)))
    assert (result.rounds, sites.asked) == (0, [])


def test_sites_that_are_dealt_into_groups_are_combined_as_the_recipe_says():
    recipe = recipe_of(sealing={"groups": 3, "combine": "median", "min_survivors": 2, "clip_range": 8.0},
                       sites={"minimum": 6, "simulated": {}}, rounds=1)  # fmt: skip
    arms = {arm.key: arm for arm in arms_of(recipe, UNITS)}
    # One site a group, so the median is the middle one's place.
    assert run_unsealed(LinearSites(), arms["federated"], 0).adapter == pytest.approx(np.full(8, 1.0), rel=1e-3)
    assert run_unsealed(LinearSites(), arms["no-privacy"], 0).adapter[0] > 1.1


def test_figures_are_asked_for_only_where_they_decide_something():
    sites = LinearSites()
    arms = arms_of(recipe_of(), UNITS)
    run_unsealed(sites, arms[-2], 0)
    assert not any(order.evaluates for _, order in sites.asked)


def test_the_best_round_of_an_arm_is_kept_by_its_own_figures():
    # Too long a step: every round is further away than the one before.
    recipe = recipe_of(
        training={"sample_rate": 0.1, "steps_per_round": 1, "optimizer": "sgd", "learning_rate": 2.2},
        server={"keep": "best", "early_stopping": {"patience": 1, "min_delta": 0.0}},
    )
    arms = {arm.key: arm for arm in arms_of(recipe, UNITS)}
    for key in ("alone-c", "pooled", "no-privacy"):
        result = run_unsealed(LinearSites(), arms[key], 0)
        assert (result.kept_round, result.rounds) == (0, 2)  # what round 1 made is told in round 2
        np.testing.assert_array_equal(result.adapter, np.zeros(8, dtype=np.float32))
