"""`sealora-site personalise`: a kept adapter that learns a site's own records, and never leaves it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_client.data.load import load_data
from sealora_client.model.adapted import AdaptedModel
from sealora_client.trained.trained_adapter import find_trained
from sealora_common.adapter import adapter_kind
from sealora_common.errors import DataError, PolicyError, SealoraError
from sealora_common.export.peft_directory import PeftDirectory
from sealora_common.export.personal import PERSONAL
from sealora_common.recipe import load_recipe
from sealora_common.round.order import shared_digest
from sealora_server.cli import cli as server_cli
from sealora_server.run.starting_adapter import read_starting_adapter

from adapter_kinds import made_up_adapter
from single_examples import recipe_for
from tiny_federation import typed, write_federation

MUST_NOT = "trained on with this site's records without privacy: it must not leave"


@pytest.fixture(scope="module")
def site(tiny_base, tmp_path_factory) -> Path:
    """A site's directory with its records, and a run's directory in it."""
    directory = tmp_path_factory.mktemp("own")
    write_federation(directory, tiny_base(), count=1)
    settings = {"name": "site-0", "data": "site-0.jsonl", "coordinator": "0" * 64}
    (directory / "site.yaml").write_text(yaml.safe_dump(settings))
    distributed = {"mechanism": "distributed", "epsilon": 8.0, "delta": 1e-3, "spare_rounds": 1}
    training = {"steps_per_round": 1, "sample_rate": 0.5, "learning_rate": 5e-3}
    recipe = recipe_for(tiny_base(), privacy=distributed, training=training, sealing={"ring_bits": 24})
    model = AdaptedModel.load(recipe)
    kind, made_up = adapter_kind(recipe), made_up_adapter(model, recipe, std=0.01)
    trained = {name: made_up[name] for name in kind.shared(model.layout).names}
    PeftDirectory().export(directory / "run" / "adapter", kind.initial(model.layout) | trained, recipe)
    (directory / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    return directory


@pytest.fixture(scope="module")
def ours(site) -> tuple[Path, str]:
    words = ("personalise", site / "run", "--directory", site, "--out", site / "ours", "--steps", "12")
    return site / "ours", typed(cli, *words)


def test_it_learns_the_site_s_records_and_says_what_it_is(site, ours):
    out, said = ours
    made = json.loads((out / PERSONAL).read_text())
    assert made["heldout_after"] < made["heldout_before"]
    assert (made["site"], made["steps"], made["units"]) == ("site-0", 12, 24)
    assert made["began_with"] == find_trained(str(site / "run"), site).digest
    assert MUST_NOT in made["must_not_leave"]
    assert MUST_NOT in said
    assert f"{made['heldout_before']:.3f} before, {made['heldout_after']:.3f} after" in said
    recipe = load_recipe(out / "recipe.yaml")
    assert (recipe.privacy.mechanism, recipe.rounds, recipe.training.steps_per_round) == ("none", 1, 12)
    assert recipe.data == load_recipe(site / "run" / "recipe.yaml").data


def test_it_answers_and_is_told_from_the_run_s(site, ours):
    result = CliRunner().invoke(cli, ["chat", str(ours[0]), "--prompt", "What is 3?", "--tokens", "4"])
    assert result.exception is None
    assert "which this site trained for itself" in result.stderr
    assert find_trained(str(ours[0]), site).digest != find_trained(str(site / "run"), site).digest


@pytest.mark.parametrize("merged", [[], ["--merged"]], ids=["adapter", "merged"])
def test_it_is_not_exported(site, ours, merged):
    for program in (cli, server_cli):
        with pytest.raises(PolicyError, match=MUST_NOT):
            typed(program, "export", ours[0], "--out", site / "others", *merged)
    assert not (site / "others").exists()


def test_the_run_s_own_adapter_is_exported_as_ever(site):
    assert "an adapter for PEFT" in typed(cli, "export", site / "run", "--out", site / "others-of-the-run")


def test_no_dossier_is_written_of_it(site, ours):
    with pytest.raises(PolicyError, match=MUST_NOT):
        typed(server_cli, "dossier", ours[0], "--out", site / "dossier")
    assert not (site / "dossier").exists()


def test_what_is_there_is_left_and_what_fails_leaves_nothing(site, ours):
    words = ["personalise", site / "run", "--directory", site]
    with pytest.raises(PolicyError, match="ours: is there already"):
        typed(cli, *words, "--out", ours[0])
    with pytest.raises(PolicyError):
        typed(cli, "personalise", site / "run", "--directory", site / "nowhere", "--out", site / "new")
    own = site / "site-0.jsonl"
    before = own.read_text()
    own.write_text("{}\n")
    with pytest.raises(SealoraError):
        typed(cli, *words, "--out", site / "new")
    own.write_text(before)
    assert not (site / "new").exists()
    assert not (site / ".new.unfinished").exists()


def test_records_that_all_teach_nothing_are_a_sentence(site, monkeypatch):
    def all_unusable(path, recipe, model):
        return replace(load_data(path, recipe, model), teaches=False, warning="none of the records teaches anything")

    monkeypatch.setattr("sealora_client.trained.personalise.load_data", all_unusable)
    with pytest.raises(DataError, match="none of the records teaches anything"):
        typed(cli, "personalise", site / "run", "--directory", site, "--out", site / "new")
    assert not (site / "new").exists()


def test_alone_it_begins_with_the_untrained_adapter(site, ours, tmp_path):
    words = ("personalise", site / "run", "--directory", site, "--out", tmp_path / "alone", "--steps", "2", "--alone")
    typed(cli, *words)
    made = json.loads((tmp_path / "alone" / PERSONAL).read_text())
    further = json.loads((ours[0] / PERSONAL).read_text())
    recipe = load_recipe(site / "run" / "recipe.yaml")
    model = AdaptedModel.load(recipe)
    untrained = adapter_kind(recipe).initial(model.layout)
    assert (made["is_alone"], further["is_alone"]) == (True, False)
    assert made["began_with"] == shared_digest(untrained, recipe) != further["began_with"]
    assert made["heldout_before"] != further["heldout_before"]
    with pytest.raises(PolicyError, match=MUST_NOT):
        typed(cli, "export", tmp_path / "alone", "--out", tmp_path / "others")


def test_its_adapter_begins_no_run_also_where_it_is_copied_without_the_rest(ours, tmp_path):
    shutil.copytree(ours[0] / "adapter", tmp_path / "copied")
    for place in (ours[0] / "adapter", tmp_path / "copied"):
        with pytest.raises(PolicyError, match=MUST_NOT):
            read_starting_adapter(place, load_recipe(ours[0] / "recipe.yaml"))
