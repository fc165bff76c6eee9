"""An earlier run's adapter, and all by which it may not fit the recipe that is to go on with it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sealora_common.adapter import AdapterLayout, TensorSpec, adapter_kind
from sealora_common.errors import ModelError, PolicyError, RecipeError
from sealora_common.export.peft_directory import CONFIGURATION, WEIGHTS, PeftDirectory
from sealora_common.export.personal import PERSONAL
from sealora_server.run.starting_adapter import agreed_start, digest_of_adapter, read_starting_adapter
from sealora_server.run.store import RunStore

from pure_sites import LAYOUT, pure_recipe

BASE = "5f" * 32


def recipe_of(digest=BASE, **sections):
    return pure_recipe(model={"digest": digest}, lora={"rank": 2, **sections.pop("lora", {})}, **sections)


def trained(recipe, seed=1):
    """What travels of the adapter is random, the rest is as the recipe says."""
    kind, generator = adapter_kind(recipe), np.random.default_rng(seed)
    shared = {spec.name: generator.normal(size=spec.shape).astype(np.float32) for spec in kind.shared(LAYOUT).tensors}
    return {**kind.initial(LAYOUT), **shared}


@pytest.fixture
def run(tmp_path):
    """A run that has come to its end."""
    store = RunStore.create(tmp_path / "earlier", recipe_of())
    store.publish(trained(recipe_of()))
    return store.directory


def test_a_run_s_adapter_is_read_and_kept_by_the_run_that_goes_on_with_it(run, tmp_path):
    tensors = read_starting_adapter(run, recipe_of())
    recipe = recipe_of(continue_from=digest_of_adapter(tensors))
    start = agreed_start(run, recipe)
    later = RunStore.create(tmp_path / "later", recipe, start=start)
    again = RunStore.open(later.directory).adapter(0, LAYOUT)
    expected = trained(recipe_of())
    assert again.keys() == expected.keys()
    assert all(np.array_equal(again[name], expected[name]) for name in expected)


def test_so_is_an_adapter_s_own_directory_which_names_modules_otherwise(run):
    directory = run / "adapter"
    path = directory / CONFIGURATION
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target_modules": ["q_proj"], "lora_dropout": 0.3}))
    assert digest_of_adapter(read_starting_adapter(directory, recipe_of())) == digest_of_adapter(trained(recipe_of()))


def test_the_digest_is_of_all_values_whatever_their_order():
    tensors = trained(recipe_of())
    assert digest_of_adapter(dict(reversed(tensors.items()))) == digest_of_adapter(tensors)
    for name in tensors:
        changed = {**tensors, name: np.nextafter(tensors[name], np.float32(9))}
        assert digest_of_adapter(changed) != digest_of_adapter(tensors)


WRONG = {
    "another seed of the frozen half": (recipe_of(lora={"seed": 1}), "is not what the recipe's lora begins with"),
    "another scale": (recipe_of(lora={"alpha": 8.0}), "its lora_alpha is 16.0, but the recipe's adapter has 8.0"),
    "another rank": (recipe_of(lora={"rank": 4}), "its r is 2, but the recipe's adapter has 4"),
    "another base model": (recipe_of("ab" * 32), "was trained on base model 5f5f5f5f5f5f, but the recipe's is abab"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_the_recipe_is_refused_by_what_it_is(run, case):
    recipe, said = WRONG[case]
    with pytest.raises(RecipeError, match=said):
        read_starting_adapter(run, recipe)


def test_where_both_halves_travel_no_seed_matters(run):
    assert read_starting_adapter(run, recipe_of(lora={"seed": 1, "aggregation": "average"}))


def test_a_run_that_is_not_over_has_no_adapter_yet(tmp_path):
    RunStore.create(tmp_path / "going", recipe_of())
    with pytest.raises(RecipeError, match="has not come to its end: finish it first"):
        read_starting_adapter(tmp_path / "going", recipe_of())


def test_files_that_cannot_be_used_are_named(run, tmp_path):
    with pytest.raises(ModelError, match=r"nothing/adapter_model.safetensors: cannot be read"):
        read_starting_adapter(tmp_path / "nothing", recipe_of())
    directory = run / "adapter"
    save_file({"a": torch.zeros(2, dtype=torch.bfloat16)}, directory / WEIGHTS)
    with pytest.raises(RecipeError, match="of type BF16, which NumPy does not know: save it in float32"):
        read_starting_adapter(directory, recipe_of())
    save_file({"a": torch.full((2,), torch.nan)}, directory / WEIGHTS)
    with pytest.raises(RecipeError, match="values that are no number"):
        read_starting_adapter(directory, recipe_of())
    PeftDirectory().export(directory, trained(recipe_of()), recipe_of())
    for content, said in (("{", "cannot be read"), ("[]", "is no configuration of PEFT")):
        (directory / CONFIGURATION).write_text(content)
        with pytest.raises(RecipeError, match=said):
            read_starting_adapter(directory, recipe_of())


def test_the_adapter_must_be_the_one_that_was_agreed_on(run):
    found = digest_of_adapter(trained(recipe_of()))
    assert agreed_start(None, recipe_of()) is None
    with pytest.raises(RecipeError, match=f"put in `continue_from: {found}` and give every site that recipe"):
        agreed_start(run, recipe_of())
    with pytest.raises(RecipeError, match=f"holds adapter {found[:12]}, but the recipe's continue_from is abab"):
        agreed_start(run, recipe_of(continue_from="ab" * 32))
    with pytest.raises(RecipeError, match=r"goes on with adapter abab.* with --continue-from"):
        agreed_start(None, recipe_of(continue_from="ab" * 32))


def test_one_of_another_model_is_refused_when_the_sites_have_told_theirs(tmp_path):
    recipe = recipe_of(continue_from="ab" * 32)
    values = trained(recipe_of())
    name = min(values)
    for place, (start, said) in enumerate(
        [
            ({**values, "more": np.zeros(3, dtype=np.float32)}, "its tensor more is none of the recipe's model"),
            ({**values, name: np.zeros((3, 3), dtype=np.float32)}, "of shape \\(3, 3\\) where the recipe's model"),
            ({key: value for key, value in values.items() if key != name}, "is missing where the recipe's model"),
        ]
    ):
        store = RunStore.create(tmp_path / str(place), recipe, start=start)
        with pytest.raises(ModelError, match=said):
            store.adapter(0, LAYOUT)


CHANGED_BY_PUBLISHING = {
    "core": (("lora_A.weight", (2, 6)), ("lora_B.weight", (4, 2)), ("lora_core.weight", (2, 2))),
    "full": (("lora_B.weight", (4, 3)),),
}


@pytest.mark.parametrize("kind", CHANGED_BY_PUBLISHING)
def test_a_run_goes_on_with_what_was_held_where_something_else_was_published(tmp_path, kind):
    layout = AdapterLayout(tuple(TensorSpec(f"base_model.model.a.{n}", s) for n, s in CHANGED_BY_PUBLISHING[kind]))
    section = {kind: {"rank": 2}} if kind == "core" else {}
    recipe = pure_recipe(model={"digest": BASE}, adapter=kind, **section)
    asked, generator = adapter_kind(recipe), np.random.default_rng(1)
    shared = {spec.name: generator.normal(size=spec.shape).astype(np.float32) for spec in asked.shared(layout).tensors}
    held = asked.initial(layout) | shared
    store = RunStore.create(tmp_path / "earlier", recipe)
    store.publish(held)
    found = read_starting_adapter(store.directory, recipe)
    assert {name: value.tobytes() for name, value in found.items()} == {n: v.tobytes() for n, v in held.items()}

    later = pure_recipe(model={"digest": BASE}, adapter=kind, continue_from=digest_of_adapter(held), **section)
    store = RunStore.create(tmp_path / "later", later, start=agreed_start(store.directory, later))
    again = RunStore.open(store.directory).adapter(0, layout)
    assert {name: value.tobytes() for name, value in again.items()} == {n: v.tobytes() for n, v in held.items()}


@pytest.mark.parametrize("kind", CHANGED_BY_PUBLISHING)
def test_a_lora_of_another_origin_is_no_such_adapter(kind):
    lora = {
        name: np.ones(shape, dtype=np.float32)
        for name, shape in (("m.lora_A.weight", (2, 6)), ("m.lora_B.weight", (4, 2)))
    }
    with pytest.raises(ModelError, match=f"adapter: {kind}"):
        adapter_kind(pure_recipe(adapter=kind)).held(lora)


@pytest.mark.parametrize(("marked", "named"), [("", "adapter"), ("adapter", "adapter"), ("adapter", "copied")])
def test_what_a_site_trained_for_itself_is_sent_to_no_other(run, marked, named):
    (run / marked / PERSONAL).write_text("{}")
    if named == "copied":
        shutil.copytree(run / "adapter", run.parent / "copied")
    place = run / "adapter" if named == "adapter" else run.parent / "copied"
    with pytest.raises(PolicyError, match="without privacy: it must not leave"):
        read_starting_adapter(place, recipe_of())
