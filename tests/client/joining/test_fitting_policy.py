"""The policy that a site begins with: its delta by the number of records, and all else as the recipe needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealora_client.joining.fitting_policy import fitting_policy, refused
from sealora_client.site.careful_policy import careful_delta, count_rows
from sealora_client.site.initial_files import policy_text
from sealora_client.site.policy import SitePolicy
from sealora_common.config import yaml_value
from sealora_common.privacy.accounting import check_delta
from sealora_common.recipe import load_recipe

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
LARGEST_SITE = {"hospital-8b": 300_000}
"""Training records of a recipe's largest site, where they are not the demo's."""
DEMO = 3193


@pytest.mark.parametrize(
    ("records", "delta"), [(None, 1e-5), (1, 1e-4), (499, 1e-4), (5000, 1e-4), (5001, 1e-5), (400_000, 1e-6)]
)
def test_delta_is_a_power_of_ten_below_half_of_one_over_the_records(records, delta):
    assert careful_delta(records) == delta
    if records is not None:
        assert delta * records <= 0.5
        check_delta(delta, records)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_that_is_shipped_fits_the_policy_that_is_made_for_it(config):
    recipe = load_recipe(config).with_model_digest("ab" * 32)
    records = LARGEST_SITE.get(config.stem, DEMO)
    exceeded = {verdict.field for verdict in fitting_policy(recipe, records).exceeded}
    assert exceeded == (set() if recipe.adapter == "lora" else {"adapters"})
    fitting = fitting_policy(recipe, records, exceeded)
    assert fitting
    read = SitePolicy.model_validate(yaml_value(policy_text(fitting.policy, "as the recipe asks")))
    assert read == fitting.policy
    assert list(refused(read, recipe)) == []
    assert (read.epsilon_limit, read.delta_limit) == (recipe.privacy.epsilon, recipe.privacy.delta)
    assert (read.unit, read.adapters, read.mechanisms) == (
        recipe.data.unit, (recipe.adapter,), (recipe.privacy.mechanism,)
    )  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_another_recipe_does_not_fit_it(config):
    recipe = load_recipe(config).with_model_digest("ab" * 32)
    adapters = () if recipe.adapter == "lora" else ("adapters",)
    policy = fitting_policy(recipe, 3193 if config.stem not in LARGEST_SITE else 300_000, adapters).policy
    dearer = recipe.model_copy(update={"privacy": recipe.privacy.model_copy(update={"epsilon": 8.5, "delta": 2e-4})})
    other_base = recipe.with_model_digest("cd" * 32)
    assert {verdict.field for verdict in refused(policy, dearer)} == {"epsilon_limit", "delta_limit"}
    assert {verdict.field for verdict in refused(policy, other_base)} == {"base_models"}


def test_rows_are_counted_whatever_the_recipe_and_none_where_they_cannot_be(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"note": 1}\n{"text": "b"}\n')
    (tmp_path / "b.csv").write_text("q,a\n1,2\n3,4\n5,6\n")
    (tmp_path / "c.jsonl").write_text('{"note": 1}\nno\n')
    (tmp_path / "d.jsonl").write_text("")
    counted = {name: count_rows(tmp_path / name) for name in ("a.jsonl", "b.csv", "c.jsonl", "d.jsonl", "e.jsonl")}
    assert counted == {"a.jsonl": 2, "b.csv": 3, "c.jsonl": None, "d.jsonl": None, "e.jsonl": None}
