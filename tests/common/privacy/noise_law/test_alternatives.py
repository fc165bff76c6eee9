"""The same compute otherwise: recipes that load, their noise that of their own plans, and one of them recommended."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealora_common.privacy.noise_law import AGREEMENT, step_noise, worth
from sealora_common.privacy.noise_law.alternatives import advice, alternatives, fewest_steps, recommended
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import load_recipe

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[4] / "configs"
DEMO, DISTRIBUTED, LARGE = (
    CONFIGS / name for name in ("demo-icd10.yaml", "demo-icd10-distributed.yaml", "hospital-8b.yaml")
)
UNITS = (2597, 2125, 3193)
PARAMETERS = 1_244_160
B_OF_8B = 22_020_096
AS_IT_WAS = ("training.sample_rate=0.02", "training.steps_per_round=4", "training.learning_rate=5e-4")


@pytest.mark.parametrize("path", [DEMO, DISTRIBUTED])
def test_each_is_the_recipe_with_what_it_says_to_write_and_has_the_noise_of_that_recipe_s_plan(path):
    own, *others = alternatives(load_recipe(path), UNITS)
    assert own.changes == ()
    assert len(others) >= 4
    for other in others:
        written = load_recipe(path, other.changes)
        assert written.hash == other.recipe.hash
        assert step_noise(written, UNITS) == other.step
        assert other.step.noise_multiplier == privacy_plan(written, 3).training.event.noise_multiplier
        compute = written.expected_epochs / own.recipe.expected_epochs
        assert compute == pytest.approx(other.compute, rel=1e-3)


def test_fewer_and_larger_steps_carry_less_noise_for_the_same_compute_and_so_does_more_compute():
    own, *others = alternatives(load_recipe(DISTRIBUTED), UNITS)
    same = [own, *(each for each in others if each.compute == 1)]
    assert [each.step.steps for each in same] == [6, 3, 2, 1]
    noises = [each.step.noise_in_units for each in same]
    assert noises == sorted(noises, reverse=True)
    # epsilon 8, delta 1e-4: six steps of q 0.03, three of 0.06, one of 0.18
    assert [round(noises[at], 1) for at in (0, 1, 3)] == [16.4, 8.8, 3.4]
    more = [each for each in others if each.compute > 1]
    assert [(each.compute, each.step.steps, each.step.sample_rate) for each in more] == [(2, 6, 0.06), (4, 6, 0.12)]
    assert own.step.noise > more[0].step.noise > more[1].step.noise


def test_no_rate_is_above_one_and_what_is_no_recipe_is_left_out():
    large = alternatives(load_recipe(DISTRIBUTED, ["training.sample_rate=0.6"]), UNITS)
    assert [each.step.sample_rate for each in large] == [0.6]
    patient = load_recipe(
        DEMO, ["rounds=8", "server.early_stopping={patience: 2}", "training.evaluate_every=2", "server.keep=best"]
    )
    assert all(each.recipe.rounds > 4 for each in alternatives(patient, UNITS))


def test_warm_up_and_epochs_go_along():
    recipe = load_recipe(DEMO, ["training.warmup_steps=4", "training.schedule=linear", "training.epochs=0.24"])
    half = next(each for each in alternatives(recipe, UNITS) if each.step.steps == 4)
    assert half.recipe.training.warmup_steps == 2
    assert "training.warmup_steps=2" in half.changes
    twice = next(each for each in alternatives(recipe, UNITS) if each.compute == 2)
    assert "training.epochs=0.48" in twice.changes
    assert load_recipe(DEMO, ["training.warmup_steps=4", "training.schedule=linear", *twice.changes]) == twice.recipe


def test_without_noise_there_is_no_other_choice():
    choices = alternatives(load_recipe(DEMO, ["privacy.mechanism=none"]), UNITS)
    assert len(choices) == 1
    assert recommended(choices, PARAMETERS) is None
    assert "Nothing is noised" in advice(choices, PARAMETERS, PARAMETERS)


def test_the_8b_recipe_as_it_was_is_told_of_a_q_that_is_better_for_the_same_compute():
    recipe = load_recipe(LARGE, AS_IT_WAS)
    choices = alternatives(recipe, (50_000,) * 5)
    best = recommended(choices, B_OF_8B)
    assert (best.step.sample_rate, best.step.steps) == (0.08, 20)
    assert choices[0].step.noise_in_units > 3 * best.step.noise_in_units
    said = advice(choices, B_OF_8B, B_OF_8B)
    assert said.startswith("Take training.sample_rate=0.08 training.steps_per_round=1: ")
    assert "walk less far" in said
    assert "raise training.learning_rate" in said
    assert "noise does not tell what a run learns" in said


def test_the_8b_recipe_as_it_is_has_the_q_that_is_recommended():
    recipe = load_recipe(LARGE)
    assert (recipe.training.sample_rate, recipe.steps) == (0.08, 20)
    choices = alternatives(recipe, (50_000,) * 5)
    assert recommended(choices, B_OF_8B) is None
    assert advice(choices, B_OF_8B, B_OF_8B).startswith("Leave q at 0.08: ")


def test_no_run_of_fewer_than_a_quarter_of_the_steps_or_than_four_is_recommended():
    for path, fewest in ((DEMO, 4), (DISTRIBUTED, 4), (LARGE, 5)):
        recipe = load_recipe(path)
        choices = alternatives(recipe, UNITS if path != LARGE else (50_000,) * 5)
        assert fewest_steps(choices[0]) == fewest
        assert any(each.step.steps < fewest for each in choices)
        for parameters in (10**5, 10**7, 10**9):
            best = recommended(choices, parameters)
            assert best is None or best.step.steps >= fewest


def test_it_is_the_one_that_is_worth_most_where_that_is_a_fifth_more():
    choices = alternatives(load_recipe(DEMO), UNITS)
    best = recommended(choices, PARAMETERS)
    assert best.step.steps == 4
    values = {each.step.steps: worth(each.step, PARAMETERS, AGREEMENT) for each in choices if each.compute == 1}
    assert values[4] >= 1.2 * values[8]
    assert recommended(choices, 100) is None, "with hardly any noise, more steps are better"


def test_who_has_too_few_records_for_any_q_is_sent_to_gather_some():
    choices = alternatives(load_recipe(DEMO), (60,) * 3)
    assert advice(choices, PARAMETERS, PARAMETERS).startswith("First gather records: for the same compute no run of 4")
