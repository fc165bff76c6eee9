"""A run that goes on with an earlier run's adapter: agreed on, checked by every site, charged as any other."""

from __future__ import annotations

import io

import numpy as np
import pytest
import yaml
from rich.console import Console

from quick_cases import quick_cases
from sealora_common.errors import RecipeError, SealoraError
from sealora_common.export.peft_directory import WEIGHTS, PeftDirectory, read_tensors
from sealora_common.recipe import load_recipe
from sealora_server.run.starting_adapter import digest_of_adapter
from sealora_server.run.store import RunStore
from sealora_server.simulation.simulate import Simulation
from sealora_server.view.report import render_report
from sealora_server.view.summary import summarize

from tiny_federation import adapter_of, recipe_of, training_charges, write_federation


def simulate(recipe, directory, **settings):
    """As the command does; returns what it printed."""
    said = io.StringIO()
    Simulation(load_recipe(recipe), directory, **settings).run(Console(file=said, width=120))
    return said.getvalue()


@pytest.fixture(scope="module", params=quick_cases(["ffa", "average"], "ffa"))
def two_runs(request, tiny_base, tmp_path_factory):
    """A run, and one that goes on with its adapter."""
    directory = tmp_path_factory.mktemp(request.param)
    training = {"learning_rate": 0.05, "sample_rate": 1.0}
    lora = {"aggregation": request.param}
    recipe = write_federation(directory, tiny_base(), rounds=2, training=training, lora=lora)
    simulate(recipe, directory / "first")
    said = simulate(recipe, directory / "second", continue_from=directory / "first")
    return directory / "first", directory / "second", said


def test_it_begins_where_the_earlier_one_ended(two_runs):
    first, second, said = two_runs
    recipe = recipe_of(second)
    assert recipe.continue_from == digest_of_adapter(adapter_of(first))
    assert recipe.hash != recipe_of(first).hash
    assert recipe.model_copy(update={"continue_from": None}).hash == recipe_of(first).hash
    ended, began = summarize(first).heldout_loss_after, summarize(second).heldout_loss_before
    assert began == pytest.approx(ended, rel=1e-6)
    assert summarize(second).heldout_loss_after < began
    assert f"Began with adapter {recipe.continue_from[:12]} of an earlier run" in said
    assert f"<code>{recipe.continue_from[:12]}</code> of an earlier one" in render_report(second)


def test_the_receipts_of_both_make_one_chain_of_adapters(two_runs):
    first, second, _ = two_runs
    last, following = RunStore.open(first).receipts()[-1], RunStore.open(second).receipts()[0]
    assert following.order.adapter_digest == last.adapter_digest


def test_a_server_that_brings_another_adapter_is_refused_by_every_site(two_runs, tmp_path):
    first, second, _ = two_runs
    recipe = load_recipe(second / "recipe.yaml")
    other = adapter_of(first)
    name = next(name for name in other if name.endswith("lora_B.weight"))
    other[name] = np.nextafter(other[name], np.float32(9))
    run = tmp_path / "run"
    simulation = Simulation(recipe, run, continue_from=first)
    create = RunStore.create

    def tampered(directory, recipe, **settings):
        return create(directory, recipe, **settings | {"start": other})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "create", tampered)
        with pytest.raises(SealoraError, match=r"which the recipe goes on with \(continue_from\): it was refused"):
            simulation.run(Console(file=io.StringIO()))
    assert RunStore.open(run).finished_rounds == 0


def test_another_frozen_half_is_refused_though_what_travels_is_the_same(two_runs, tmp_path):
    """A site adds its own frozen half to what travels: beside another one it would be another adapter."""
    first, second, _ = two_runs
    if recipe_of(first).lora.aggregation != "ffa":
        pytest.skip("both halves travel")
    text = yaml.safe_load((second / "recipe.yaml").read_text())
    text["lora"]["seed"] = 1
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(text))
    with pytest.raises(RecipeError, match=r"is not what the recipe's lora begins with"):
        simulate(path, tmp_path / "a", continue_from=first)
    # A server that does not look is found out by the sites, whose digest covers it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sealora_server.simulation.simulate.agreed_start", lambda path, recipe: adapter_of(first))
        with pytest.raises(SealoraError, match=r"which the recipe goes on with \(continue_from\): it was refused"):
            simulate(path, tmp_path / "b", continue_from=first)


def test_a_run_is_resumed_with_the_adapter_that_it_began_with(two_runs, tmp_path, monkeypatch):
    first, _, _ = two_runs
    recipe, run = first.parent / "recipe.yaml", tmp_path / "run"
    finish = RunStore.finish_round

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunStore, "finish_round", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(recipe, run, continue_from=first)
    monkeypatch.setattr(RunStore, "finish_round", finish)
    with pytest.raises(RecipeError, match="holds a run of another recipe"):
        simulate(recipe, run, resume=True)
    # Without privacy a site sends no second vector, so it does not go on; but it is the same run from the same start.
    with pytest.raises(SealoraError, match="sends no second one"):
        simulate(recipe, run, resume=True, continue_from=first)
    assert digest_of_adapter(RunStore.open(run).start) == recipe_of(run).continue_from


def test_the_earlier_run_s_charges_stay_and_the_new_ones_come_on_top(tiny_base, tmp_path):
    """A deployed site has one ledger for both runs; here the second simulation is given the sites of the first."""
    privacy = {"mechanism": "local", "epsilon": 3.0, "delta": 1e-3}
    recipe = write_federation(tmp_path, tiny_base(), rounds=1, privacy=privacy)
    first, second = tmp_path / "first", tmp_path / "second"
    simulate(recipe, first)
    (second / "sites").mkdir(parents=True)
    for site in ("site-0", "site-1", "site-2"):
        (first / "sites" / site).rename(second / "sites" / site)
    bound = load_recipe(first / "recipe.yaml").model_copy(
        update={"continue_from": digest_of_adapter(adapter_of(first))}
    )
    with pytest.raises(SealoraError, match="privacy budget does not allow this whole run"):
        Simulation(bound, second, continue_from=first).run(Console(file=io.StringIO()))
    assert len(training_charges(second, "site-0")) == 1  # the earlier run's, and nothing was free


def test_a_private_run_goes_on_from_one_on_public_text_and_is_charged_for_itself_alone(two_runs, tiny_base, tmp_path):
    public, _, _ = two_runs
    aggregation = recipe_of(public).lora.aggregation
    privacy = {"mechanism": "local", "epsilon": 3.0, "delta": 1e-3}
    lora = {"aggregation": aggregation}
    recipe = write_federation(tmp_path, tiny_base(), rounds=1, records=30, privacy=privacy, lora=lora)
    run = tmp_path / "run"
    said = simulate(recipe, run, continue_from=public)
    assert training_charges(public, "site-0") == []
    assert len(training_charges(run, "site-0")) == 1
    assert recipe_of(run).continue_from == digest_of_adapter(adapter_of(public))
    assert "Began with adapter" in said
    assert "of an earlier one" in render_report(run)


@pytest.mark.slow
def test_l2_sp_holds_a_run_near_the_adapter_that_it_began_with(two_runs, tmp_path):
    first, second, _ = two_runs

    def distance(run, earlier):
        return sum(float(np.square(value - adapter_of(earlier)[name]).sum()) for name, value in adapter_of(run).items())

    text = yaml.safe_load((first.parent / "recipe.yaml").read_text())
    text["server"] = {"l2_sp": 0.9}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(text))
    simulate(path, tmp_path / "run", continue_from=first)
    assert distance(tmp_path / "run", first) < 0.7 * distance(second, first)


@pytest.mark.slow
def test_an_adapter_from_elsewhere_will_do(two_runs, tmp_path):
    first, second, _ = two_runs
    directory = tmp_path / "adapter"
    tensors = read_tensors(first / "adapter")
    PeftDirectory().export(directory, tensors, recipe_of(first))
    assert (directory / WEIGHTS).exists()
    simulate(first.parent / "recipe.yaml", tmp_path / "run", continue_from=directory)
    assert recipe_of(tmp_path / "run").hash == recipe_of(second).hash
