"""What noisy steps are worth, and of whose records it is said that noise drowns them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sealora_common.privacy.noise_law import LEAST, drowned, step_noise, worth
from sealora_common.recipe import load_recipe

CONFIGS = Path(__file__).parents[4] / "configs"
DEMOS = ("demo-icd10.yaml", "demo-icd10-distributed.yaml")
DEMO_UNITS = (2597, 2125, 3193)
WHOLE_FILES = (2900, 2371, 3558)
PARAMETERS = 1_244_160
"""B's of rank 8 on all linear layers of SmolLM2-135M."""
OTHERS = {  # units a site, B's of rank 4 on the last ten layers
    "departments.yaml": 2200,
    "near-codes.yaml": 600,
    "conversations.yaml": 800,
    "handbooks.yaml": 840,
    "currencies.yaml": 820,
}


@pytest.mark.parametrize("name", DEMOS)
@pytest.mark.parametrize("parameters", [1_000_000, PARAMETERS])
def test_a_bank_of_60_records_that_copies_the_demo_is_told_that_noise_drowns_them(name, parameters):
    said = drowned(load_recipe(CONFIGS / name), (60, 60, 60), parameters)
    assert said is not None
    assert said.startswith("noise drowns the records: a step draws 5.4 of all sites' 180 records")
    assert "times as many records" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", DEMOS)
@pytest.mark.parametrize("units", [DEMO_UNITS, WHOLE_FILES])
def test_the_demo_is_not(name, units):
    recipe = load_recipe(CONFIGS / name)
    assert drowned(recipe, units, PARAMETERS) is None
    assert worth(step_noise(recipe, units), PARAMETERS) > 50 * LEAST


@pytest.mark.parametrize("name", OTHERS)
def test_no_recipe_that_learned_is(name):
    recipe = load_recipe(CONFIGS / name)
    units = (OTHERS[name],) * 3
    assert drowned(recipe, units, 207_360) is None
    assert worth(step_noise(recipe, units), 207_360) > 10 * LEAST


def test_as_many_times_the_records_as_the_sentence_asks_for_are_enough_and_hardly_more():
    recipe = load_recipe(CONFIGS / DEMOS[0])
    said = drowned(recipe, (60, 60, 60), PARAMETERS)
    factor = float(said.partition("gather ")[2].partition(" times")[0])
    assert drowned(recipe, (round(60 * factor),) * 3, PARAMETERS) is None
    assert drowned(recipe, (round(60 * factor * 0.9),) * 3, PARAMETERS) is not None


@pytest.mark.slow
def test_a_step_that_draws_nobody_as_a_rule_is_drowned_however_small_the_adapter():
    recipe = load_recipe(CONFIGS / DEMOS[0], ["training.sample_rate=0.001"])
    assert worth(step_noise(recipe, (300,) * 3), 1) > LEAST
    assert "gather 1.2 times as many" in drowned(recipe, (300,) * 3, 1)
    assert drowned(recipe, (400,) * 3, 1) is None


def test_without_noise_nothing_is_drowned_and_every_step_is_worth_one():
    recipe = load_recipe(CONFIGS / DEMOS[0], ["privacy.mechanism=none"])
    assert drowned(recipe, (2, 2, 2), PARAMETERS) is None
    assert worth(step_noise(recipe, (2, 2, 2)), PARAMETERS) == recipe.steps


def test_persons_are_called_persons():
    recipe = load_recipe(CONFIGS / DEMOS[0], ["data.person_field=patient"])
    assert "noise drowns the persons" in drowned(recipe, (60,) * 3, PARAMETERS)


def test_a_step_is_worth_what_it_gains_on_a_loss_that_curves_alike_in_all_directions():
    """The fall of h |x|^2 / 2 in a step along g + n at the best rate, over that in a step along g, by trying."""
    step = step_noise(load_recipe(CONFIGS / DEMOS[0]), (20_000,) * 3)
    size, generator = 2000, np.random.default_rng(0)
    gradient = np.zeros(size)
    gradient[0] = step.reach  # = h x, h = 1
    falls = []
    rates = np.linspace(0.01, 1.2, 120)
    for _ in range(200):
        moved = gradient[None, :] - rates[:, None] * (gradient + generator.normal(0, step.noise * 25, size))[None, :]
        falls.append((gradient @ gradient - (moved**2).sum(axis=1)) / 2)
    best, without_noise = np.mean(falls, axis=0).max(), gradient @ gradient / 2
    # The noise of 25 x 25 as many parameters, on few enough to draw.
    assert best / without_noise == pytest.approx(worth(step, size * 625) / step.steps, rel=0.05)


def test_a_step_whose_records_agree_less_is_worth_less():
    step = step_noise(load_recipe(CONFIGS / DEMOS[0]), DEMO_UNITS)
    values = [worth(step, PARAMETERS, agreement) for agreement in (0.1, 0.25, 0.5, 1.0)]
    assert values == sorted(values)
    # Where noise outweighs records, with the square of what they agree.
    assert values[0] / values[1] == pytest.approx((0.1 / 0.25) ** 2, rel=0.01)
