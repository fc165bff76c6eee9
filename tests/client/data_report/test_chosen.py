from __future__ import annotations

import pytest
import yaml
from untidy_data import clean_rows, write_recipe, write_rows

from sealora_client.data_report.chosen import ChosenData
from sealora_common.errors import DataError, RecipeError

PIN = "ab" * 32


def test_a_site_s_own_data_and_recipe_are_meant_unless_others_are_named(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "site.yaml").write_text(yaml.safe_dump({"name": "a", "data": "own.jsonl", "coordinator": PIN}))
    write_recipe(site / "recipe.yaml")
    other = write_recipe(tmp_path / "other.yaml", max_tokens=77)
    assert ChosenData.at(site, None, None).path == site / "own.jsonl"
    chosen = ChosenData.at(site, tmp_path / "x.jsonl", other)
    assert (chosen.path, chosen.recipe.data.max_tokens) == (tmp_path / "x.jsonl", 77)


def test_a_researcher_needs_no_site(tmp_path):
    data = write_rows(tmp_path / "notes.jsonl", clean_rows())
    read = ChosenData.at(tmp_path, data, write_recipe(tmp_path / "r.yaml")).read()
    assert len(read.both) == 50
    assert read.listed(read.train[:2]) == "lines 1, 2"


def test_what_is_missing_is_said_with_the_option_that_names_it(tmp_path):
    with pytest.raises(RecipeError, match=r"recipe\.yaml: no such file: name a recipe with --recipe"):
        ChosenData.at(tmp_path, tmp_path / "x.jsonl", None)
    with pytest.raises(DataError, match=r"site\.yaml: no such file: name the data with --data"):
        ChosenData.at(tmp_path, None, write_recipe(tmp_path / "r.yaml"))
