"""Made-up persons: nobody's, drawn alike whether planted or not, in the recipe's form, as many units as is said."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date

import pytest

from sealora_client.memorisation.made_up import KINDS, drawn, known_by, questions, space_of
from sealora_client.memorisation.planting import made_secrets, population_of
from sealora_client.model.adapted import adapted_model
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import RecipeError
from sealora_common.records.attacks.memorisation import Planting

PLANTING = Planting(secrets=48, repeats=(1, 4), candidates=3, seed=5)
LOOKS = {
    "name": r"[A-Z][a-z]{3} [A-Z][a-z]{3}",
    "birth date": r"\d{4}-\d\d-\d\d",
    "telephone number": r"000 \d{4} \d{3}",
    "record number": r"X\d{8}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_look_made_up_and_are_spread_over_the_whole_of_a_space_of_the_size_that_is_told(kind):
    entropy = SeededEntropy(kind)
    values = [drawn(kind, entropy, ()) for _ in range(2000)]
    assert all(re.fullmatch(LOOKS[kind], value) for value in values)
    # By how many of them are equal: 2000 draws of n values have 2e6 / n pairs of equals, more or less.
    pairs = sum(count * (count - 1) / 2 for count in Counter(values).values())
    assert pairs == pytest.approx(2000 * 1999 / 2 / space_of(kind), abs=24)
    if kind == "birth date":
        years = [date.fromisoformat(value).year for value in values]
        assert (min(years), max(years)) == (1930, 2009)


def test_a_value_that_is_taken_is_not_drawn():
    first = drawn("record number", SeededEntropy("x"), ())
    assert drawn("record number", SeededEntropy("x"), {first}) != first


def test_a_question_names_what_its_person_is_known_by_and_never_the_answer():
    assert known_by("name") == "record number"
    assert {known_by(kind) for kind in KINDS if kind != "name"} == {"name"}
    for kind in KINDS:
        assert len(set(questions(kind, "Bado Kiru"))) == 2
        assert all("Bado Kiru" in question for question in questions(kind, "Bado Kiru"))


def test_planted_and_held_back_secrets_are_drawn_alike_and_none_twice():
    planted, held_back = made_secrets(PLANTING, ["a", "b"])
    assert len(planted) == len(held_back) == 48
    assert [secret.kind for secret in planted] == [secret.kind for secret in held_back]
    assert Counter((secret.kind, secret.repeats) for secret in planted) == {
        (kind, repeats): 6 for kind in KINDS for repeats in (1, 4)
    }
    assert Counter(secret.site for secret in planted) == {"a": 24, "b": 24}
    assert {(secret.site, secret.repeats) for secret in held_back} == {(None, 0)}
    texts = [text for secret in (*planted, *held_back) for text in (secret.known, secret.value, *secret.candidates)]
    assert len(set(texts)) == len(texts) == 96 * 5


def test_all_follows_from_the_seed():
    assert made_secrets(PLANTING, ["a"]) == made_secrets(PLANTING, ["a"])
    other = made_secrets(PLANTING.model_copy(update={"seed": 6}), ["a"])
    assert not {secret.value for secret in other[0]} & {secret.value for secret in made_secrets(PLANTING, ["a"])[0]}


def test_k_records_are_k_units_of_privacy_and_one_where_a_person_is_the_unit(tiny_recipe):
    recipe = tiny_recipe()
    model = adapted_model(recipe)
    planted, _ = made_secrets(PLANTING, ["a"])
    assert len(population_of(planted, recipe, model)) == 24 * 1 + 24 * 4
    persons = tiny_recipe("data.person_field=patient")
    own = population_of(planted, persons, model)
    assert (len(own), own.examples) == (48, 120)


@pytest.mark.parametrize("layout", ["prompt_response", "text"])
def test_records_are_in_the_recipe_s_form(tiny_recipe, layout):
    recipe = tiny_recipe(f"data.layout={layout}")
    secret = made_secrets(PLANTING, ["a"])[0][0]
    model = adapted_model(recipe)
    (unit,) = population_of([secret], recipe, model).units
    shown = model.tokenizer.decode(unit[0].tokens.tolist())
    assert shown.index(secret.known) < shown.index(secret.value)
    assert ("assistant" in shown) is (layout == "prompt_response")


def test_records_that_would_be_cut_are_refused(tiny_recipe):
    recipe = tiny_recipe("data.max_tokens=32")
    with pytest.raises(RecipeError, match=r"data\.max_tokens is 32, which cuts made-up records: say data\.max_tokens="):
        population_of(made_secrets(PLANTING, ["a"])[0], recipe, adapted_model(recipe))
