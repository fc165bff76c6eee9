"""The sites of a simulation: their directories, and what is tried before anything is written."""

from __future__ import annotations

import csv
import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from objective_federation import write_objective_federation
from sealora_client.model.adapted import adapted_model
from sealora_client.simulated import SimulatedSites
from sealora_client.site.directory import Site
from sealora_common.adapter import adapter_kind
from sealora_common.errors import BudgetError, DataError, PolicyError, RecipeError
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster
from sealora_server.run.store import RunStore

from tiny_federation import PRIVATE, adapter_of, prepare_run, recipe_of, run_inline, write_federation


@pytest.fixture
def directory(tiny_base, tmp_path):
    """A site's directory in a run that has not begun."""
    prepare_run(write_federation(tmp_path, tiny_base(), privacy=PRIVATE), tmp_path / "run")
    return tmp_path / "run" / "sites" / "site-1"


def test_a_simulated_site_s_policy_allows_what_the_recipe_asks_and_no_more(directory):
    policy = yaml.safe_load((directory / "policy.yaml").read_text())
    assert policy == {
        "epsilon_limit": PRIVATE["epsilon"],
        "delta_limit": PRIVATE["delta"],
        "minimum_sites": 3,
        "minimum_survivors": 3,
        "adversary": "malicious",
        "allow_without_privacy": False,
    }


def test_preparing_again_keeps_identities_and_roster(directory):
    run = directory.parents[1]
    before = {path: path.read_bytes() for path in run.glob("sites/*/identity.pem")}
    roster = Roster.load(run / "roster.json")
    prepared = SimulatedSites.prepare(recipe_of(run), run / "sites", RunStore.open(run).server_identity().public_key)
    assert prepared.hash == roster.hash
    assert {path: path.read_bytes() for path in before} == before


def test_no_two_sites_and_no_two_runs_share_a_key(tiny_base, tmp_path):
    recipe = write_federation(tmp_path, tiny_base())
    keys = [member.public_key for name in ("a", "b") for member in prepare_run(recipe, tmp_path / name).members]
    assert len(set(keys)) == 6


def test_resolving_binds_the_recipe_to_the_base_model(tiny_base, tmp_path):
    recipe = load_recipe(write_federation(tmp_path, tiny_base()))
    resolved = SimulatedSites.resolve(recipe)
    assert resolved.model.digest
    assert resolved.hash != recipe.hash
    other = load_recipe(write_federation(tmp_path, tiny_base("qwen2")))
    assert SimulatedSites.resolve(other).model.digest != resolved.model.digest


def test_a_simulation_in_which_a_site_has_nothing_to_show_is_refused_before_it_begins(tiny_base, tmp_path):
    """A real site takes part all the same: whether it does must not tell of its records."""
    recipe = write_federation(tmp_path, tiny_base(), data={"prompt_template": "{{ promt }}"})
    with pytest.raises(DataError, match=r"site-0\.jsonl: none of the 28 records .* data\.prompt_template fails"):
        SimulatedSites.resolve(load_recipe(recipe))


def test_a_simulated_site_s_file_that_is_no_yaml_is_told_by_its_name(directory, tmp_path):
    (directory / "site.yaml").write_text("devices: [")
    with pytest.raises(PolicyError, match=r"site-1/site\.yaml: cannot be read .*: correct the file, or delete it"):
        prepare_run(tmp_path / "recipe.yaml", tmp_path / "run", resume=True)


def checked(tmp_path, base, overrides=(), **sections):
    SimulatedSites.check(load_recipe(write_federation(tmp_path, base, **sections), overrides))


def test_every_site_s_data_are_read_before_anything_is_written(tiny_base, tmp_path):
    checked(tmp_path, tiny_base())
    with pytest.raises(DataError, match=r"nowhere\.jsonl does not exist"):
        checked(tmp_path, tiny_base(), ["sites.simulated.site-2=nowhere.jsonl"])


def test_fewer_sites_than_the_minimum_are_refused(tiny_base, tmp_path):
    with pytest.raises(RecipeError, match=r"sites\.simulated names 3 sites, sites\.minimum is 4"):
        checked(tmp_path, tiny_base(), sites={"minimum": 4})


def test_a_delta_that_would_permit_publishing_a_record_is_refused_for_the_site_by_name(tiny_base, tmp_path):
    with pytest.raises(BudgetError, match=r"site 'site-0': privacy\.delta is 0\.05 but must be below 1 / 24"):
        checked(tmp_path, tiny_base(), privacy=PRIVATE | {"delta": 0.05})


@pytest.mark.slow
def test_an_epsilon_that_no_noise_can_give_is_refused_beforehand(tiny_base, tmp_path):
    with pytest.raises(BudgetError, match="no amount of noise gives"):
        checked(tmp_path, tiny_base(), privacy=PRIVATE | {"epsilon": 1e-9, "delta": 1e-12})


def test_sites_may_describe_their_data_each_in_its_own_words(tiny_base, tmp_path):
    """One recipe, three ways to hold the records: a table, a database, a list that is packed."""
    recipe = write_federation(tmp_path, tiny_base(), rounds=1)
    told = yaml.safe_load(recipe.read_text())
    own = told["sites"]["simulated"].values()
    rows = [[json.loads(line) for line in Path(path).read_text().splitlines()] for path in own]
    prepare_run(recipe, tmp_path / "before")
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Frage", "Antwort", "Teil"])
        writer.writerows([row["prompt"], row["response"], row["split"]] for row in rows[0])
    with closing(sqlite3.connect(tmp_path / "b.db")) as made, made:
        made.execute("CREATE TABLE b (prompt, response, split, n)")
        values = [(row["prompt"], row["response"], row["split"], number) for number, row in enumerate(rows[1])]
        made.executemany("INSERT INTO b VALUES (?, ?, ?, ?)", values)
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(json.dumps({"notes": rows[2]}).encode()))
    described = {
        "site-0": {"files": ["a.csv"], "fields": {"prompt": "Frage", "response": "Antwort", "split": "Teil"}},
        "site-1": {"sql": {"url": "sqlite:///b.db", "query": "SELECT prompt, response, split FROM b ORDER BY n"}},
        "site-2": {"files": ["*.json.gz"]},
    }
    for name, description in described.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(description))
        told["sites"]["simulated"][name] = str(path)
    recipe.write_text(yaml.safe_dump(told, sort_keys=False))
    run_inline(recipe, tmp_path / "after")
    assert adapter_of(tmp_path / "after")
    for name in described:
        before, after = (Site(tmp_path / run / "sites" / name).data for run in ("before", "after"))
        assert before.train_set.fingerprint == after.train_set.fingerprint
        assert before.heldout_set.members == after.heldout_set.members
        for part, other in ((before.train, after.train), (before.heldout, after.heldout)):
            tokens, others = ([unit[0].tokens.tolist() for unit in each.units] for each in (part, other))
            assert tokens == others


@pytest.mark.slow
def test_no_unwanted_response_is_shown_as_the_reference_of_a_completion(tiny_base, tmp_path):
    prepare_run(write_objective_federation(tmp_path, tiny_base(), "kto", rounds=1), tmp_path / "run")
    recipe = recipe_of(tmp_path / "run")
    initial = adapter_kind(recipe).initial(adapted_model(recipe).layout)
    made = SimulatedSites.completions(recipe, tmp_path / "run" / "sites", initial, 12)
    assert len(made) == 12
    assert all(completion.reference.startswith("It is") for completion in made)


@pytest.mark.slow
def test_completions_are_of_prompts_drawn_by_lot(tiny_base, tmp_path):
    prepare_run(write_objective_federation(tmp_path, tiny_base(), "templated prompts", rounds=1), tmp_path / "run")
    recipe, sites = recipe_of(tmp_path / "run"), tmp_path / "run" / "sites"
    initial = adapter_kind(recipe).initial(adapted_model(recipe).layout)

    def drawn(lot: str) -> list[str]:
        return [made.prompt for made in SimulatedSites.completions(recipe, sites, initial, 3, lot=lot)]

    assert drawn("a") == drawn("a")
    assert len({tuple(drawn(lot)) for lot in "abcdef"}) > 1
