"""The hash by which the parties of a federation know that they mean one recipe."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from sealora_common.recipe import DataSection, Recipe, TrainingSection, load_recipe, parse_recipe
from sealora_common.recipe.hash import NOT_AGREED, AddedLater, agreed_hash
from sealora_common.recipe.sections.adapter import SECTION_OF_KIND
from sealora_common.recipe.sections.section import Section

CONFIGS = Path(__file__).parents[3] / "configs"
MINIMAL = "name: test\nrounds: 2\nmodel: {base: some/model}\n"

# Of the first version with a hash. Run directories, receipts and ledgers hold them: they stay for ever.
KNOWN = {
    "demo-icd10-distributed.yaml": "489d930041762fe529de671f4d9209a18ffe4dd82d53be9c5043ec1fea469e81",
    "demo-icd10.yaml": "264dcfdcb1183c41bf7ad26e395ba6c7ba24e163e2ff2097989efa88ad1af762",
    "hospital-8b.yaml": "d77a33d287ecec88f8aad7436cc4451d7879bbf968cd3ae690aed8d1d9ed7327",
}
SINCE_CHANGED = {
    "demo-icd10-distributed.yaml": ("privacy.clip_norm=1.0", "server.learning_rate=1.2e-2", "server.momentum=0.9"),
    "demo-icd10.yaml": (
        "rounds=5",
        "training.steps_per_round=2",
        "training.optimizer=adamw",
        "training.learning_rate=1.0e-2",
        "training.evaluate_every=1",
        "privacy.clip_norm=1.0",
        "sealing.ring_bits=16",
        "server.optimizer=fedavg",
        "server.learning_rate=1.0",
        "server.momentum=0.9",
        "server.beta_2=0.99",
        "server.tau=1.0e-3",
    ),
    "hospital-8b.yaml": (
        "training.sample_rate=0.02",
        "training.steps_per_round=4",
        "training.learning_rate=5.0e-4",
    ),
}
"""What a recipe said then and says otherwise now."""
KNOWN_MINIMAL = "14043b43c68ab73b704b65fd7f89a790abf230c4e9560a8f68d1efb3010d5d4c"
FIRST_FIELDS = frozenset(
    """
    name rounds model.base model.revision model.digest model.quantization model.compute_dtype model.attention
    model.gradient_checkpointing lora.rank lora.alpha lora.dropout lora.target_modules lora.last_layers
    lora.aggregation lora.seed data.prompt_field data.response_field data.split_field data.system_prompt
    data.max_tokens data.heldout_fraction data.heldout_limit data.person_field data.fold_persons
    training.sample_rate training.steps_per_round training.micro_batch_size training.learning_rate
    training.optimizer training.weight_decay training.proximal_mu training.evaluate_every privacy.mechanism
    privacy.epsilon privacy.delta privacy.clip_norm privacy.clipping privacy.target_quantile privacy.spare_rounds
    privacy.honest_survivors privacy.records_per_person privacy.heldout_clip sealing.adversary sealing.min_survivors
    sealing.ring_bits sealing.clip_range sealing.rotation sealing.weighting sealing.weight_cap sealing.weight_floor
    sealing.groups sealing.combine sealing.trim server.optimizer server.learning_rate server.momentum server.beta_2
    server.tau sites.minimum sites.training_timeout sites.stage_timeout sites.round_attempts
    """.split()  # noqa: SIM905 (61 names, a page of lines otherwise)
)
"""Those of the first version: always hashed. The list is closed; a field that comes is marked, see `recipe.hash`."""


@pytest.mark.parametrize("name", KNOWN)
def test_the_recipes_that_come_with_sealora_keep_their_hashes(name: str) -> None:
    assert load_recipe(CONFIGS / name, SINCE_CHANGED.get(name, ())).hash == KNOWN[name]


def test_a_recipe_of_defaults_keeps_its_hash() -> None:
    assert parse_recipe(MINIMAL).hash == KNOWN_MINIMAL


def fields(kind: type[BaseModel], path: str = "") -> Iterator[tuple[str, tuple[object, ...]]]:
    """Each field that is no section: its path, and the marks on it and on the sections around it."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from ((below, (*field.metadata, *marks)) for below, marks in fields(inner, f"{path}{name}."))
        else:
            yield path + name, tuple(field.metadata)


def test_a_field_that_came_later_is_marked_and_the_first_ones_are_not() -> None:
    unmarked = {
        path
        for path, marks in fields(Recipe)
        if NOT_AGREED not in marks and not any(isinstance(mark, AddedLater) for mark in marks)
    }
    assert unmarked == FIRST_FIELDS, (
        "a new field changes the hash of every recipe and ends every unfinished run: mark it with `AddedLater`; one of "
        "the first fields stays, under its name and without a mark"
    )


def test_where_the_simulation_finds_its_sites_is_all_that_is_not_agreed_on() -> None:
    assert [path for path, marks in fields(Recipe) if NOT_AGREED in marks] == ["sites.simulated"]


# Fields that a later version might add, each on a section of today's.


class LaterTraining(TrainingSection):
    warmup: Annotated[int, AddedLater(0)] = 0
    schedule: Annotated[Literal["constant", "cosine"], AddedLater("constant")] = "constant"


class Causal(Section):
    kind: Literal["causal"] = "causal"


class Preference(Section):
    kind: Literal["preference"] = "preference"
    beta: float = 0.1


class Card(Section):
    title: Annotated[str | None, AddedLater(None)] = None


class Source(Section):
    file: str
    weight: Annotated[float, AddedLater(1.0)] = 1.0


class LaterRecipe(Recipe):
    training: LaterTraining = LaterTraining()
    aim: Annotated[Causal | Preference, AddedLater({"kind": "causal"})] = Field(default=Causal(), discriminator="kind")
    card: Annotated[Card, AddedLater({})] = Card()
    sources: Annotated[tuple[Source, ...], AddedLater([])] = ()


def later(text: str = MINIMAL, **values: object) -> LaterRecipe:
    return LaterRecipe.model_validate({**yaml.safe_load(text), **values})


@pytest.mark.parametrize("name", KNOWN)
def test_fields_that_are_added_with_their_defaults_change_no_hash(name: str) -> None:
    then = load_recipe(CONFIGS / name, SINCE_CHANGED.get(name, ()))
    assert later(yaml.safe_dump(then.model_dump(mode="json"))).hash == KNOWN[name]


ADDED = {
    "a number": {"training": {"warmup": 1}},
    "a word": {"training": {"schedule": "cosine"}},
    "another kind of section": {"aim": {"kind": "preference"}},
    "a value in that": {"aim": {"kind": "preference", "beta": 0.2}},
    "a field of a section that was added whole": {"card": {"title": "a card"}},
    "no text there": {"card": {"title": ""}},
    "a list": {"sources": [{"file": "a"}]},
    "a field in a list": {"sources": [{"file": "a", "weight": 2}]},
    "the order of a list": {"sources": [{"file": "a"}, {"file": "b"}]},
    "the other order": {"sources": [{"file": "b"}, {"file": "a"}]},
}


def test_fields_that_are_added_change_the_hash_where_they_say_something_else() -> None:
    found = {case: later(**values).hash for case, values in ADDED.items()}
    assert len({KNOWN_MINIMAL, *found.values()}) == 1 + len(ADDED), found


def test_a_default_that_changes_later_changes_the_hash_of_whoever_leaves_the_field_out() -> None:
    class Changed(TrainingSection):
        warmup: Annotated[int, AddedLater(0)] = 100

    class ChangedRecipe(Recipe):
        training: Changed = Changed()

    values = yaml.safe_load(MINIMAL)
    assert ChangedRecipe.model_validate(values).hash == later(training={"warmup": 100}).hash != KNOWN_MINIMAL
    assert ChangedRecipe.model_validate({**values, "training": {"warmup": 0}}).hash == KNOWN_MINIMAL


def test_a_first_field_whose_default_changes_is_hashed_by_its_value() -> None:
    class Longer(DataSection):
        max_tokens: int = 1024

    class LongerRecipe(Recipe):
        data: Longer = Longer()

    values = yaml.safe_load(MINIMAL)
    assert LongerRecipe.model_validate(values).hash == parse_recipe(MINIMAL, overrides=["data.max_tokens=1024"]).hash
    assert LongerRecipe.model_validate({**values, "data": {"max_tokens": 512}}).hash == KNOWN_MINIMAL


def test_a_field_that_nobody_marked_changes_the_hash() -> None:
    class Forgotten(Recipe):
        extra: bool = False

    assert Forgotten.model_validate(yaml.safe_load(MINIMAL)).hash != KNOWN_MINIMAL


def test_a_value_that_is_like_another_only_in_python_is_hashed() -> None:
    class Numbers(BaseModel):
        scale: Annotated[float | bool, AddedLater(False)] = 0.0

    assert agreed_hash(Numbers()) != agreed_hash(Numbers(scale=False))


# Whatever two recipes differ in, they differ in their hashes.


def paths(kind: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for dotted, _ in fields(kind, "".join(f"{part}." for part in path)):
        yield tuple(dotted.split("."))


def words_of(path: tuple[str, ...]) -> list[str]:
    """Those that the field is one of, if it says so."""
    kind: type[BaseModel] = Recipe
    for name in path[:-1]:
        inner = kind.model_fields[name].annotation
        assert isinstance(inner, type)
        kind = inner
    return [word for word in get_args(kind.model_fields[path[-1]].annotation) if isinstance(word, str)]


def values_of(path: tuple[str, ...]) -> st.SearchStrategy[object]:
    words = words_of(path)
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(min_value=0, max_value=2000),
        st.floats(min_value=0, max_value=100, allow_nan=False),
        st.text("abcdef0123456789", min_size=1, max_size=8),
        st.lists(st.text("abc", min_size=1, max_size=3), max_size=3),
        st.just("ab" * 32),
    )
    return st.one_of(st.sampled_from(words), plain) if words else plain


def changed(base: dict[str, object], path: tuple[str, ...], value: object) -> Recipe | None:
    """The recipe with this value there; None if it may not be there."""
    section, *names = copy.deepcopy(base), *path
    inner = section
    for name in names[:-1]:
        inner = inner.setdefault(name, {})
    inner[names[-1]] = value
    try:
        return Recipe.model_validate(section)
    except ValidationError:
        return None


@settings(max_examples=200)
@given(st.data())
def test_recipes_that_differ_in_any_field_differ_in_their_hash(data: st.DataObject) -> None:
    base = yaml.safe_load(MINIMAL)
    recipes = []
    for _ in range(2):
        path = data.draw(st.sampled_from(sorted(paths(Recipe))))
        recipe = changed(base, path, data.draw(values_of(path)))
        recipes += [recipe] if recipe is not None else []
    agreed = [
        recipe.model_copy(update={"sites": recipe.sites.model_copy(update={"simulated": {}})}) for recipe in recipes
    ]
    assert len({recipe.hash for recipe in recipes}) == len(set(map(repr, agreed)))


BOTH_NAMED = {"adapter": "ia3", "ia3": {"target_modules": ["b"], "feedforward_modules": ["b"]}}
PREFERENCES = {"data": {"layout": "preference"}, "privacy": {"heldout_clip": 1000.0}}
FEEDBACK = {"data": {"layout": "feedback"}, "objective": {"kind": "kto_zero"}}
BASES = {
    ("objective", "kind"): PREFERENCES,
    ("objective", "beta"): PREFERENCES | {"objective": {"kind": "dpo"}},
    ("data", "task_field"): {"data": {"task_field": "a"}, "objective": {"task_weights": {"a": 1}}},
    ("objective", "task_weights"): {"data": {"task_field": "a"}, "objective": {"task_weights": {"a": 1}}},
    ("evaluation", "metric"): {
        "objective": {"kind": "classification"},
        "data": {"layout": "labelled", "labels": {"a": "x", "b": "y"}},
    },
    ("evaluation", "max_new_tokens"): {"evaluation": {"metric": "bleu"}},
    ("objective", "wanted_weight"): FEEDBACK,
    ("objective", "unwanted_weight"): FEEDBACK,
    ("objective", "label_weights"): {
        "objective": {"kind": "classification"},
        "data": {"layout": "labelled", "labels": {"a": "x", "b": "y"}},
    },
    ("objective", "loss"): PREFERENCES | {"objective": {"kind": "dpo"}},
    ("objective", "label_smoothing"): PREFERENCES | {"objective": {"kind": "dpo"}},
    ("data", "fields"): {"data": {"layout": "text"}},
    ("data", "labels"): {"data": {"layout": "labelled"}},
    ("data", "long_texts"): {"data": {"layout": "text"}},
    ("data", "learned_turns"): {"data": {"layout": "messages"}},
    ("ia3", "target_modules"): BOTH_NAMED,
    ("ia3", "feedforward_modules"): BOTH_NAMED,
    ("privacy", "spare_rounds"): {
        "privacy": {"mechanism": "distributed"},
        "training": {"steps_per_round": 1},
        "sealing": {"ring_bits": 24},
    },
    ("server", "early_stopping"): {"rounds": 3},
    ("training", "epochs"): {"training": {"sample_rate": 0.5, "steps_per_round": 1}},
    ("training", "seed"): {"privacy": {"mechanism": "none"}},
    ("training", "momentum"): {"training": {"optimizer": "sgd"}},
}
"""Of fields that only recipes of a kind may have."""


@pytest.mark.parametrize("path", sorted(paths(Recipe)), ids=".".join)
def test_every_field_enters_the_hash_but_the_simulated_sites(path: tuple[str, ...]) -> None:
    kind = next((kind for kind, name in SECTION_OF_KIND.items() if name == path[0]), "lora")
    base = yaml.safe_load(MINIMAL) | {"data": {"person_field": "who"}, "sites": {"minimum": 9}, "adapter": kind}
    base |= BASES.get(path, {})
    before = Recipe.model_validate(base)
    scalars = (None, True, False, 1, 2, 3, 4, 5, 24, 0.25, 0.5, "x", "ab" * 32, "2024-07-26")
    candidates = (*scalars, ["a"], [1], [0.5, 0.5], {"a": "b"}, {"a": 2}, {"text": "b"}, {"patience": 1})
    others = [recipe for value in (*candidates, *words_of(path)) if (recipe := changed(base, path, value)) is not None]
    others = [recipe for recipe in others if recipe != before]
    assert others, "no value of another recipe was found: add one to the candidates"
    assert all((recipe.hash == before.hash) == (path == ("sites", "simulated")) for recipe in others)


def test_the_hash_does_not_depend_on_how_the_recipe_is_written():
    spelled_out = yaml.safe_dump(parse_recipe(MINIMAL).model_dump(mode="json"), sort_keys=True)
    reordered = "model: {base: some/model}\nrounds: 2\nname: test\n"
    assert len({parse_recipe(text).hash for text in (MINIMAL, spelled_out, reordered)}) == 1


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "model.base=other/model",
        f"model.digest={'ab' * 32}",
        "model.quantization=none",
        "lora.aggregation=average",
        "lora.target_modules=[q]",
        "privacy.mechanism=none",
        "privacy.epsilon=7.99",
        "privacy.clipping=per_layer",
        "privacy.target_quantile=0.5",
        "privacy.honest_survivors=1",
        "data.person_field=patient",
        "data.heldout_limit=48",
        "sealing.adversary=curious",
        "sealing.weighting=uniform",
        "sealing.clip_range=0.1",
        "sealing.weight_floor=0.2",
        "sealing.trim=2",
        "server.optimizer=fedadam",
        "sites.minimum=4",
    ],
)
def test_what_is_agreed_on_enters_the_hash(override):
    assert parse_recipe(MINIMAL, overrides=[override]).hash != parse_recipe(MINIMAL).hash


def test_where_simulated_sites_keep_their_data_does_not_enter_the_hash():
    with_sites = parse_recipe(MINIMAL, overrides=["sites.simulated={a: x, b: y, c: z}"])
    assert with_sites.hash == parse_recipe(MINIMAL).hash


def test_binding_the_base_model_changes_only_its_digest():
    recipe = parse_recipe(MINIMAL)
    bound = recipe.with_model_digest("ab" * 32)
    assert bound.model.digest == "ab" * 32
    assert bound.with_model_digest("ab" * 32).hash == bound.hash != recipe.hash
    assert bound.model_copy(update={"model": recipe.model}) == recipe
