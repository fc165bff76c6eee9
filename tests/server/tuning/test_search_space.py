"""What may be searched: fields that change how the adapter is learned and nothing else, in ranges that they take."""

from __future__ import annotations

import contextlib
from typing import get_args

import pytest
from linear_sites import recipe_of
from pydantic import BaseModel

from sealora_common.errors import RecipeError
from sealora_common.recipe import Recipe, load_recipe, parse_recipe
from sealora_server.tuning.search import searchable
from sealora_server.tuning.search.field_value import value_of, with_values
from sealora_server.tuning.search.search_space import SearchedChoice, SearchedRange, search_space
from sealora_server.tuning.search.searchable import SEARCHED, WHY_NOT

from demo_recipes import CONFIGS, RECIPES

PRIVACY = {"clip_norm", "clipping", "target_quantile"}
"""All of the section `privacy` that changes no promise, and not what is measured."""


def fields_of(kind: type[BaseModel], path: str = "") -> list[str]:
    found = []
    for name, field in kind.model_fields.items():
        annotations = (field.annotation, *get_args(field.annotation))
        inner = [each for each in annotations if isinstance(each, type) and issubclass(each, BaseModel)]
        found += fields_of(inner[0], f"{path}{name}.") if inner else [f"{path}{name}"]
    return found


def is_refused(field: str) -> bool:
    return any(field == each or field.startswith(f"{each}.") for each in WHY_NOT)


def test_every_field_of_a_recipe_is_searched_or_says_why_not():
    for field in fields_of(Recipe):
        assert is_refused(field) or field.partition(".")[0] in SEARCHED, field
    of_privacy = {field for field in fields_of(Recipe) if field.startswith("privacy.") and not is_refused(field)}
    assert of_privacy == {f"privacy.{name}" for name in PRIVACY}
    known = {field.rpartition(".")[0] for field in fields_of(Recipe)} | set(fields_of(Recipe))
    assert WHY_NOT.keys() <= known


@pytest.mark.parametrize("field", [
    "privacy.epsilon", "privacy.delta", "privacy.mechanism", "privacy.spare_rounds", "privacy.honest_survivors",
    "privacy.heldout_clip", "privacy.records_per_person", "data.person_field", "data.max_tokens", "data.heldout_limit",
    "sites.minimum", "sites.simulated", "sealing.min_survivors", "model.base", "evaluation.metric", "objective.beta",
    "training.seed", "lora.seed", "name", "continue_from", "training.evaluate_every",
])  # fmt: skip
def test_what_changes_the_promise_the_records_or_the_judge_may_not_be_searched(field):
    with pytest.raises(RecipeError, match=rf"^--search {field}: [a-z_.]+ may not be searched, as "):
        search_space([f"{field}=1,2"], recipe_of())


FORMS = {
    "server.learning_rate=0.1..10:log": SearchedRange("server.learning_rate", 0.1, 10.0, log=True, whole=False),
    "server.momentum=0..0.9": SearchedRange("server.momentum", 0.0, 0.9, log=False, whole=False),
    "lora.rank=2..16:log": SearchedRange("lora.rank", 2, 16, log=True, whole=True),
    "server.optimizer=fedavg,fedadam": SearchedChoice("server.optimizer", ("fedavg", "fedadam")),
    "privacy.target_quantile=null,0.5": SearchedChoice("privacy.target_quantile", (None, 0.5)),
    "privacy.clip_norm=1,2.5": SearchedChoice("privacy.clip_norm", (1.0, 2.5)),
    "training.betas=[0.9,0.99],[0.8,0.9]": SearchedChoice("training.betas", ([0.9, 0.99], [0.8, 0.9])),
}


@pytest.mark.parametrize("said", FORMS)
def test_a_search_is_read_and_said_again(said):
    (found,) = search_space([said], recipe_of())
    assert found == FORMS[said]
    assert search_space([found.text], recipe_of()) == (found,)


BAD = {
    "lora.rank": "is not of the form FIELD=LOW..HIGH",
    "=1,2": "is not of the form",
    "lora.rank=": "is not of the form",
    "lora.ranks=1,2": "a recipe has no field lora.ranks, did you mean lora.rank?",
    "lora=1,2": "lora is a section: search a field of it",
    "rounds.x=1,2": "rounds is a value and no section",
    "server.early_stopping.patience=1,2": "the recipe has no server.early_stopping: write it into the recipe first",
    "lora.rank=4..2": "4..2 is no range: the smaller number comes first",
    "lora.rank=0..4": "rank: 0 will not do",
    "lora.rank=1.5..4": "'1.5' is no whole number",
    "privacy.clip_norm=nan..1": "'nan' is no end of a range",
    "privacy.clip_norm=1..inf": "'inf' is no end of a range",
    "server.momentum=0..0.9:log": "a range with :log begins above 0",
    "server.momentum=0..1": "momentum: 1.0 will not do",
    "server.optimizer=1..2": "it takes no numbers, so it has no range",
    "server.optimizer=fedavg": "one value is nothing to search",
    "server.optimizer=fedavg,adam": "'adam' will not do",
    "privacy.clip_norm=1,1.0": "it names 1.0 twice",
    "training.betas=[0.9": "its values cannot be read",
}  # fmt: skip


@pytest.mark.parametrize("said", BAD)
def test_what_is_no_search_is_one_sentence(said):
    with pytest.raises(RecipeError) as raised:
        search_space([said], recipe_of())
    assert BAD[said] in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_field_of_a_section_that_nobody_thought_of_is_not_searched(monkeypatch):
    monkeypatch.setattr(searchable, "WHY_NOT", {})
    for field in ("sealing.min_survivors", "data.max_tokens", "name", "sites.minimum"):
        section = field.partition(".")[0]
        with pytest.raises(RecipeError, match=f"^--search {field}: {section} is none of the sections that may be"):
            search_space([f"{field}=3,4"], recipe_of())


def accepted(field: str) -> str | None:
    """A search of the field, whichever form it takes."""
    for values in ("0.1..0.2", "1..2", "true,false", "constant,cosine"):
        with contextlib.suppress(RecipeError):
            search_space([f"{field}={values}"], recipe_of())
            return f"{field}={values}"
    return None


def test_no_more_fields_are_searched_than_trials_could_tell_apart():
    said = [search for search in map(accepted, fields_of(Recipe)) if search is not None]
    assert len(said) > 20
    assert len(search_space(said[:20], recipe_of())) == 20
    with pytest.raises(RecipeError, match="--search is given 21 times: no more than 20 fields are searched"):
        search_space(said[:21], recipe_of())


def test_a_field_is_searched_once():
    with pytest.raises(RecipeError, match="it is given twice"):
        search_space(["rounds=1..2", "rounds=3,4"], recipe_of())


@pytest.mark.parametrize("name", RECIPES)
def test_without_a_search_a_few_fields_are_searched_around_the_recipe_s_own_values(name):
    recipe = load_recipe(CONFIGS / name)
    space = search_space([], recipe)
    assert 1 <= len(space) <= 5
    assert all(each.holds(value_of(recipe, each.field)) for each in space)
    assert search_space([each.text for each in space], recipe) == space


def test_only_what_the_recipe_reads_is_searched_by_default():
    plain = recipe_of(privacy={"mechanism": "none"})
    assert [each.field for each in search_space([], plain)] == ["training.learning_rate", "training.sample_rate"]
    distributed = parse_recipe(
        "{name: a, rounds: 3, model: {base: x}, training: {sample_rate: 0.1, steps_per_round: 1, epochs: 0.3},"
        "privacy: {mechanism: distributed}, sealing: {ring_bits: 24}, server: {optimizer: fedadam}}"
    )
    assert [each.field for each in search_space([], distributed)] == [
        "server.learning_rate", "server.momentum", "privacy.clip_norm"
    ]  # fmt: skip


def test_values_make_a_recipe_that_the_schema_takes():
    recipe = recipe_of()
    found = with_values(recipe, {"training.learning_rate": 0.25, "rounds": 5})
    assert (found.training.learning_rate, found.rounds) == (0.25, 5)
    assert with_values(recipe, {}) == recipe
    with pytest.raises(RecipeError, match="momentum is SGD's"):
        with_values(recipe_of(training={"optimizer": "adamw"}), {"training.momentum": 0.5})


def test_a_drawn_number_has_four_digits_and_stays_in_its_range():
    searched = SearchedRange("privacy.clip_norm", 0.12344, 0.65436, log=False, whole=False)
    assert searched.rounded(0.2345678) == 0.2346
    assert searched.rounded(0.123445) == 0.12344
    assert searched.rounded(0.65436) == 0.65436
