"""What each privacy mechanism answers, and which settings of a recipe it refuses."""

from __future__ import annotations

from typing import get_args

import pytest

from sealora_common.errors import BudgetError, RecipeError
from sealora_common.privacy.mechanisms import PrivacyMechanism, mechanism_of
from sealora_common.privacy.mechanisms.local import LOCAL_GRID_STEPS
from sealora_common.recipe import Recipe, parse_recipe
from sealora_common.recipe.sections.privacy import MechanismName, ProtectingMechanismName
from sealora_common.round.sum_grid import SumGrid

NAMES = get_args(MechanismName)
WITH = {
    "local": ("training.optimizer=adamw",),
    "distributed": ("training.steps_per_round=1", "sealing.ring_bits=24", "sealing.weight_cap=100"),
    "none": (),
}


def recipe(name: str, *overrides: str) -> Recipe:
    """A recipe of the mechanism, with what it needs."""
    named = (f"privacy.mechanism={name}", *WITH[name], *overrides)
    return parse_recipe("name: test\nrounds: 10\nmodel: {base: b}\n", overrides=named)


def of(name: str) -> PrivacyMechanism:
    return mechanism_of(recipe(name))


def test_every_name_has_an_object_of_its_own() -> None:
    assert len({id(of(name)) for name in NAMES}) == len(NAMES) == len(WITH)
    assert of("local") is of("local")


def test_the_names_that_a_policy_may_list_are_those_that_protect() -> None:
    assert {name for name in NAMES if of(name).protects} == set(get_args(ProtectingMechanismName))


def test_a_vector_is_repeated_for_nothing_only_if_it_carries_a_promise_of_its_own() -> None:
    assert {name: of(name).repeat for name in NAMES} == {"local": "same", "distributed": "charged", "none": "refused"}
    assert {name for name in NAMES if of(name).may_regroup} == {"local"}


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_is_what_the_mechanism_says_of_itself(name: str) -> None:
    own, mechanism = recipe(name), of(name)
    training, heldout = mechanism.training_plan(own, 3), mechanism.heldout_plan(own)
    assert training.protects == heldout.protects == mechanism.protects
    assert training.grid == mechanism.grid(own, 3)
    assert (training.grid is not None) == mechanism.sums_on_grid
    assert (training.sample_rate, training.steps) == (own.training.sample_rate, own.training.steps_per_round)


def test_each_plans_its_own_noise() -> None:
    local, distributed, none = (of(name).training_plan(recipe(name), 3) for name in ("local", "distributed", "none"))
    assert (local.event.noise, local.grid_steps) == ("gaussian", LOCAL_GRID_STEPS)
    assert (distributed.event.noise, distributed.grid) == ("skellam", SumGrid.of(recipe("distributed"), 3))
    assert (none.noise_std, none.grid_steps) == (0.0, 0)
    assert local.noise_std == local.event.noise_multiplier * LOCAL_GRID_STEPS > 0


@pytest.mark.parametrize("name", get_args(ProtectingMechanismName))
def test_a_delta_that_would_publish_a_record_is_refused(name: str) -> None:
    own = recipe(name, "privacy.delta=0.01")
    mechanism_of(own).require_units(own, 99)
    with pytest.raises(BudgetError, match=r"must be below 1 / 100"):
        mechanism_of(own).require_units(own, 100)


def test_without_a_promise_any_delta_will_do() -> None:
    own = recipe("none", "privacy.delta=0.9")
    mechanism_of(own).require_units(own, 1_000_000)


def test_what_is_told_beside_a_vector_is_covered_by_noise_on_it() -> None:
    for name in ("local", "none"):
        assert of(name).tally(recipe(name)) == ("clipped",)
    adapting = recipe("local", "privacy.target_quantile=0.5")
    assert mechanism_of(adapting).tally(adapting) == ("clipped", "unclipped")
    for more in ((), ("privacy.target_quantile=0.5",)):
        own = recipe("distributed", *more)
        assert mechanism_of(own).tally(own) == ()


REFUSED = [
    ("local", "privacy.spare_rounds=1", "leave spare_rounds out"),
    ("none", "privacy.spare_rounds=1", "leave spare_rounds out"),
    ("local", "training.optimizer=sgd", "use training.optimizer: adamw"),
    ("none", "privacy.target_quantile=0.5", "a mechanism other than none"),
    ("distributed", "training.steps_per_round=2", "set it to 1 and raise rounds"),
    ("distributed", "sealing.ring_bits=19", "needs sealing.ring_bits of 20 or more"),
    ("distributed", "sealing.rotation=true", "leave out sealing.rotation"),
    ("distributed", "sealing.clip_range=1.0", "leave out sealing.rotation and"),
    ("distributed", "sealing.groups=3", "leave out sealing.groups"),
    ("distributed", "sealing.weighting=uniform", "set sealing.weighting to records"),
]


@pytest.mark.parametrize(("name", "setting", "said"), REFUSED)
def test_a_setting_that_breaks_the_promise_is_refused_with_a_remedy(name: str, setting: str, said: str) -> None:
    adaptive = ("privacy.target_quantile=0.5",) if "optimizer" in setting else ()
    with pytest.raises(RecipeError, match=said):
        recipe(name, *adaptive, setting)


@pytest.mark.parametrize("name", get_args(ProtectingMechanismName))
def test_one_norm_is_adapted_and_not_many(name: str) -> None:
    assert recipe(name, "privacy.target_quantile=0.5").privacy.target_quantile == 0.5
    with pytest.raises(RecipeError, match=r"it needs privacy\.clipping: flat"):
        recipe(name, "privacy.target_quantile=0.5", "privacy.clipping=per_layer")


def test_spare_rounds_are_for_what_is_charged_anew() -> None:
    plain, spare = (recipe("distributed", f"privacy.spare_rounds={count}") for count in (0, 10))
    noise = [mechanism_of(own).training_plan(own, 3).event.noise_multiplier for own in (plain, spare)]
    assert noise[0] < noise[1]
