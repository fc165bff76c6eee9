"""All figures of a plan together, each that of the code which runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from sealora_common.adapter import adapter_kind
from sealora_common.errors import BudgetError, RecipeError
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.noise_law import outlook, trained_parameters
from sealora_common.privacy.noise_law.outlook import uplink_bytes
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import load_recipe
from sealora_common.round.contribution import ContributionLayout

from pure_sites import LAYOUT

CONFIGS = Path(__file__).parents[4] / "configs"
DEMO, DISTRIBUTED = (CONFIGS / name for name in ("demo-icd10.yaml", "demo-icd10-distributed.yaml"))
UNITS, NAMES = (2597, 2125, 3193), ("a", "b", "c")
PARAMETERS = 1_244_160


@pytest.mark.parametrize("path", [DEMO, DISTRIBUTED])
def test_epsilons_are_those_of_the_charges_that_the_ledgers_would_hold(path):
    recipe = load_recipe(path)
    found = outlook(recipe, UNITS, NAMES, PARAMETERS)
    train, heldout = (
        epsilon_pld([charge.whole_run], recipe.privacy.delta) for charge in privacy_plan(recipe, 3).charges
    )
    assert (found.epsilon_training, found.epsilon_evaluations) == (train, heldout)
    assert max(train, heldout) <= recipe.privacy.epsilon


def test_the_norm_of_the_noise_is_sqrt_p_times_that_on_a_parameter():
    found = outlook(load_recipe(DEMO), UNITS, NAMES, PARAMETERS)
    assert found.noise_norm == pytest.approx(math.sqrt(PARAMETERS) * found.own.noise)
    assert found.noise_as_units == pytest.approx(found.noise_norm / found.reach * found.own.expected_units)


def test_epochs_are_the_recipe_s():
    assert outlook(load_recipe(DEMO), UNITS, NAMES, PARAMETERS).epochs == pytest.approx(0.24)


def test_what_is_sent_is_what_the_layouts_of_all_rounds_and_the_last_evaluation_take():
    """20 bits a parameter in eight rounds, and in each, as after the last, a tally of 32 bits a figure.

    Four figures where held-out records are evaluated too, as in the first; three elsewhere.
    """
    assert uplink_bytes(load_recipe(DEMO), PARAMETERS, 3) == 8 * PARAMETERS * 20 // 8 + 4 * (4 + 7 * 3) + 4 * 3
    rotated = load_recipe(DEMO, ["sealing.rotation=true"])
    assert uplink_bytes(rotated, PARAMETERS, 3) > uplink_bytes(load_recipe(DEMO), PARAMETERS, 3)


def test_a_layout_says_which_part_is_trained_in_which_round():
    halves = ["lora.aggregation=alternating", "server.optimizer=fedavg"]
    recipe = load_recipe(DEMO, [*halves, "rounds=2", "training.evaluate_every=2"])
    kind = adapter_kind(recipe)
    sizes = [kind.trained(LAYOUT, number).size for number in (1, 2)]
    assert sizes == [12, 16]
    assert trained_parameters(recipe, LAYOUT) == 16
    layouts = [
        ContributionLayout.of(recipe, kind.trained(LAYOUT, 1), 3),
        ContributionLayout.of(recipe, kind.trained(LAYOUT, 2), 3, evaluates=False),
        ContributionLayout.of(recipe, None, 3),
    ]
    total = sum(segment.packed_bytes for layout in layouts for segment in layout.segments)
    assert uplink_bytes(recipe, LAYOUT, 3) == total


def test_where_nobody_knows_the_adapter_what_rests_on_it_is_left_out_and_what_is_assumed_is_said():
    found = outlook(load_recipe(DEMO), UNITS, NAMES)
    assert (found.parameters, found.noise_norm, found.noise_as_units, found.uplink_bytes) == (None,) * 4
    assert (found.fewest_parameters, found.usual_parameters) == (1_000_000, 20_000_000)
    assert found.warning is None
    assert outlook(load_recipe(DEMO), (60,) * 3, NAMES).warning is not None


def test_without_privacy_nothing_is_promised_noised_or_recommended():
    found = outlook(load_recipe(DEMO, ["privacy.mechanism=none"]), UNITS, NAMES, PARAMETERS)
    assert (found.delta, found.epsilon_training, found.epsilon_evaluations) == (None,) * 3
    assert (found.own.noise, found.alternatives, found.recommended, found.warning) == (0.0, (), None, None)


def test_a_federation_that_could_not_run_is_refused_in_a_sentence():
    recipe = load_recipe(DEMO)
    with pytest.raises(RecipeError, match=r"sites.minimum is 3, and there are 2 sites: count more"):
        outlook(recipe, UNITS[:2], NAMES[:2], PARAMETERS)
    with pytest.raises(BudgetError, match=r"a site of 20,000 records: privacy.delta is 0.0001 but must be below"):
        outlook(recipe, (20_000, 60, 60), NAMES, PARAMETERS)
    grouped = load_recipe(DEMO, ["sealing.groups=3", "sites.minimum=9"])
    with pytest.raises(RecipeError, match=r"sites.minimum is 9, and there are 8 sites"):
        outlook(grouped, (3000,) * 8, "abcdefgh", PARAMETERS)


def test_what_the_figures_leave_out_is_said():
    adaptive = ["privacy.target_quantile=0.5", "training.optimizer=adamw"]
    grouped = load_recipe(DEMO, ["sealing.groups=3", "sites.minimum=9", *adaptive])
    found = outlook(grouped, (3000,) * 9, "abcdefghi", PARAMETERS)
    assert any("of 3 groups" in note for note in found.notes)
    assert any("C adapts" in note for note in found.notes)
    assert outlook(load_recipe(DEMO), UNITS, NAMES, PARAMETERS).notes == ()


def test_its_json_is_whole_and_has_no_number_that_json_lacks():
    text = outlook(load_recipe(DEMO), UNITS, NAMES, PARAMETERS).model_dump_json()
    found = json.loads(text)
    assert found["own"]["sample_rate"] == 0.03
    assert "NaN" not in text
    assert "Infinity" not in text
