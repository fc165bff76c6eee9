"""`sealora-site policy explain`, as a site's operator types it."""

from __future__ import annotations

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import PolicyError, RecipeError
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster

from pure_sites import pure_federation, pure_recipe

DIGEST = "ab" * 32
POLICY = {
    "epsilon_limit": 8.0,
    "delta_limit": 1e-5,
    "base_models": [DIGEST],
    "rank": [1, 16],
    "rounds": [1, 50],
    "learning_rate": [1e-5, 1e-2],
    "target_modules": ["q_proj", "v_proj"],
    "unit": "person",
    "hours": ["20:00-06:00"],
}
SECTIONS = {
    "privacy": {"mechanism": "local", "epsilon": 4.0, "delta": 1e-6},
    "sealing": {"adversary": "malicious", "min_survivors": 3},
    "model": {"base": "x", "digest": DIGEST},
    "lora": {"rank": 8, "target_modules": ["q_proj"]},
    "data": {"person_field": "patient"},
}


@pytest.fixture
def explain(tmp_path):
    """`explain(policy changes, **recipe sections)` runs the command in a site's directory."""

    def run(policy: dict | None = None, **sections) -> Result:
        recipe = pure_recipe(**(SECTIONS | sections))
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(POLICY | (policy or {})))
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
        pure_federation(recipe, 3)[0].save(tmp_path / "roster.json")
        return CliRunner().invoke(
            cli, ["policy", "explain", str(tmp_path / "recipe.yaml"), "--directory", str(tmp_path)]
        )

    return run


def test_a_recipe_that_is_allowed_is_allowed_line_by_line(explain):
    result = explain()
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("allowed")] == [
        "mechanisms",
        "delta_limit",
        "unit",
        "minimum_sites",
        "minimum_survivors",
        "adversary",
        "base_models",
        "adapters",
        "rank",
        "rounds",
        "learning_rate",
        "target_modules",
        "epsilon_limit",
    ]
    assert "allowed  rank is 1 to 16, and the recipe's lora.rank is 8" in lines
    assert not any("lifetime" in line for line in lines)  # two such runs fit
    assert lines[-1] == "note     hours are 20:00-06:00 (UTC): orders at other times are refused"


def test_a_limit_that_allows_one_run_only_is_noted(explain):
    result = explain({"epsilon_limit": 4.5})
    assert result.exit_code == 0
    said = "note     epsilon_limit is 4.5 and this recipe spends 4: one run in this data's lifetime"
    assert said in result.output.splitlines()


MODULES = {"target_modules": ["q_proj"]}
REFUSED = {
    "another base model": (
        {},
        {"model": {"base": "x", "digest": "cd" * 32}},
        "base_models is abababababab, but the recipe's model.digest is cdcdcdcdcdcd",
    ),
    "a base model not named": (
        {},
        {"model": {"base": "x"}},
        "base_models is abababababab, but the recipe's model.digest is not set",
    ),
    "a large rank": ({}, {"lora": MODULES | {"rank": 32}}, "rank is 1 to 16, but the recipe's lora.rank is 32"),
    "a small rank": ({"rank": [9, 16]}, {}, "rank is 9 to 16, but the recipe's lora.rank is 8"),
    "many rounds": ({"rounds": [1, 1]}, {}, "rounds is 1 to 1, but the recipe's rounds is 3"),
    "a large learning rate": (
        {},
        {"training": {"learning_rate": 0.1}},
        "learning_rate is 1e-05 to 0.01, but the recipe's training.learning_rate is 0.1",
    ),
    "another module": (
        {},
        {"lora": {"target_modules": ["q_proj", "lm_head"]}},
        "target_modules is q_proj, v_proj, but the recipe's lora.target_modules is q_proj, lm_head",
    ),
    "all modules": (
        {},
        {"lora": {"target_modules": "all-linear"}},
        "target_modules is q_proj, v_proj, but the recipe's lora.target_modules is all-linear",
    ),
    "privacy by record": (
        {},
        {"data": {}},
        "unit is person, but the recipe's unit of privacy is a record (data.person_field is not set)",
    ),
    "another mechanism": (
        {"mechanisms": ["distributed"]},
        {},
        "mechanisms is distributed, but the recipe's privacy.mechanism is local",
    ),
    "more epsilon than there is": (
        {"epsilon_limit": 3.0},
        {},
        "epsilon_limit is 3, but the recipe's privacy.epsilon is 4 over all its rounds",
    ),
    "a small roster": ({"minimum_sites": 4}, {}, "minimum_sites is 4, but the roster has 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_with_the_line_and_the_value_and_nothing_else_is(explain, case):
    policy, sections, said = REFUSED[case]
    result = explain(policy, **sections)
    assert result.exit_code == 1
    refused = [line for line in result.output.splitlines() if line.startswith("REFUSED")]
    assert refused == [f"REFUSED  {said}"]


def test_an_order_is_refused_by_the_very_same_lines(explain, tmp_path):
    for case, (policy, sections, said) in REFUSED.items():
        if case == "more epsilon than there is":  # an order is one round; the ledger counts them
            continue
        explain(policy, **sections)
        with pytest.raises(PolicyError) as caught:
            SitePolicy.load(tmp_path / "policy.yaml").check(
                load_recipe(tmp_path / "recipe.yaml"), Roster.load(tmp_path / "roster.json")
            )
        assert str(caught.value) == f"policy.yaml: {said}: the order is refused"


def test_a_policy_that_asks_for_nothing_more_says_nothing_more(explain):
    result = explain(dict.fromkeys(("base_models", "rank", "rounds", "learning_rate", "target_modules")))
    assert "rank" not in result.output
    assert result.exit_code == 0


def test_what_cannot_be_read_is_one_sentence(explain, tmp_path):
    explain()
    result = CliRunner().invoke(cli, ["policy", "explain", "nowhere.yaml", "--directory", str(tmp_path)])
    assert isinstance(result.exception, RecipeError)
    result = CliRunner().invoke(cli, ["policy", "explain", str(tmp_path / "recipe.yaml"), "--directory", "nowhere"])
    assert isinstance(result.exception, PolicyError)
    assert "the site has no policy" in str(result.exception)
