"""The training of each mechanism, as its callers know it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from sealora_client.training.choice import training_of
from sealora_client.training.clipped_groups import ClippingFigures
from sealora_client.training.round_training import TrainedRound
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import BudgetError
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.privacy import MechanismName

from single_examples import recipe_for

DRAWS = 4000


def of(name: str) -> tuple[Recipe, TrainingPlan]:
    recipe = recipe_for(
        Path("unused"), privacy={"mechanism": name}, training={"steps_per_round": 1}, sealing={"ring_bits": 24}
    )
    return recipe, privacy_plan(recipe, 7).training


def sealed(values: np.ndarray) -> TrainedRound:
    return TrainedRound(values, unclipped=None, moved=True, figures=ClippingFigures([]))


def test_every_mechanism_of_a_recipe_has_its_training() -> None:
    names = get_args(MechanismName)
    assert len({id(training_of(of(name)[0])) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["local", "distributed"])
def test_the_noise_of_the_sites_that_a_plan_counts_on_is_what_it_accounts_for(name: str) -> None:
    recipe, plan = of(name)
    sites = 1 if plan.grid is None else plan.grid.honest_survivors
    entropy = SeededEntropy("noise")
    total = sum(training_of(recipe).noise(plan, DRAWS, entropy) for _ in range(sites))
    assert total.dtype == np.int64
    assert (sites > 1) == (name == "distributed")
    assert total.std() == pytest.approx(plan.event.noise_multiplier * plan.grid_steps, rel=5 / np.sqrt(2 * DRAWS))


def test_without_privacy_there_is_no_noise() -> None:
    recipe, plan = of("none")
    assert not training_of(recipe).noise(plan, 5, SeededEntropy("noise")).any()


def test_a_share_of_a_sum_is_heard_under_all_of_the_sum_s_noise() -> None:
    recipe, plan = of("distributed")
    entropy = SeededEntropy("noise")
    share = training_of(recipe).noise(plan, DRAWS, entropy)
    sent = share.copy()
    heard = training_of(recipe).becomes_known(sealed(share), plan=plan, population=10, clip_norm=0.5, entropy=entropy)
    expected = 0.5 * plan.event.noise_multiplier / plan.expected_batch(10)
    assert heard.change.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * DRAWS))
    np.testing.assert_array_equal(share, sent)  # what was sent is left alone


@pytest.mark.parametrize("name", ["local", "none"])
def test_a_delta_is_heard_as_it_was_sent(name: str) -> None:
    recipe, plan = of(name)
    delta = np.array([1.5, -2.0], dtype=np.float32)
    entropy = SeededEntropy("noise")
    heard = training_of(recipe).becomes_known(sealed(delta), plan=plan, population=9, clip_norm=1.0, entropy=entropy)
    assert heard.change.tolist() == [1.5, -2.0]
    assert heard.unclipped is None


def test_a_shared_sum_takes_no_other_mechanism_s_plan() -> None:
    recipe, _ = of("distributed")
    with pytest.raises(BudgetError, match="whose noise the sites share"):
        training_of(recipe).noise(of("local")[1], 1, SeededEntropy("noise"))
