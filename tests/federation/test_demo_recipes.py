"""Each recipe that comes with data trains on it: a tiny model, few of its records, one round, all else as it stands."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path

import pytest
import yaml

from quick_cases import quick_cases
from sealora_client.demo_data.choice import build_demo
from sealora_common.recipe import load_recipe

from demo_recipes import CONFIGS, RECIPES, need_the_package_of
from tiny_federation import history_of, recipe_of, run_inline

MODEL = {"quantization": "none", "compute_dtype": "float32", "attention": "eager"}


def few(file: Path, to: Path) -> str:
    """The first records of a file, of both parts."""
    lines = file.read_text(encoding="utf-8").splitlines()
    parts = {
        part: [line for line in lines if json.loads(line)["split"] == part][:count]
        for part, count in (("train", 12), ("heldout", 4))
    }
    to.write_text("".join(line + "\n" for part in parts.values() for line in part), encoding="utf-8")
    return str(to)


def tiny(recipe: dict, base: Path) -> dict:
    """The recipe for the tiny model: what follows from the model's size and its tokens is changed, and nothing else."""
    recipe["rounds"] = 1
    recipe["model"] |= MODEL | {"base": str(base)}
    recipe["lora"] |= {"last_layers": 1}
    recipe["data"] |= {"max_tokens": 255}
    recipe["training"] |= {"sample_rate": 0.5}
    recipe["privacy"] |= {"epsilon": 100.0, "delta": 1e-3}
    if "labels" in recipe["data"]:  # words that begin with different bytes
        recipe["data"]["labels"] = {
            label: f"{letter}-ward" for letter, label in zip("abcdefghijkl", recipe["data"]["labels"], strict=True)
        }
    return recipe


@pytest.fixture
def run_of(tiny_base, tmp_path):
    """`run_of(name)`: the directory of that recipe's run with the tiny model."""

    def run(name: str) -> Path:
        task = RECIPES[name]
        need_the_package_of(task)
        recipe = tiny(yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8")), tiny_base())
        recipe["sites"]["simulated"] = {
            site.name: few(site.path, tmp_path / f"few-{site.name}.jsonl")
            for site in build_demo(tmp_path / "data", task)
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        return run_inline(path, tmp_path / "run")

    return run


@pytest.mark.parametrize("name", quick_cases(RECIPES, "conversations.yaml"))
def test_a_round_of_it_is_trained_and_measured(run_of, name):
    run = run_of(name)
    original = load_recipe(CONFIGS / name)
    assert recipe_of(run).objective.kind == original.objective.kind
    for site in original.sites.simulated:
        history = history_of(run, site)
        assert {line["kind"] for line in history} == {"train", "evaluate"}
        losses = [line["heldout_loss"] for line in history if line["heldout_loss"] is not None]
        assert len(losses) == 2
        assert all(math.isfinite(loss) for loss in losses)
        assert losses[0] != losses[1] or original.evaluation.metric != "loss"


def test_a_run_is_told_by_language(run_of, monkeypatch, capsys):
    run = run_of("currencies.yaml")
    monkeypatch.setattr("sys.argv", ["by_task.py", str(run), "--json"])
    runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "by_task.py"), run_name="__main__")
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.keys() <= recipe_of(run).objective.task_weights.keys()
    assert sum(figure["records"] for figure in figures.values()) == 12  # four a site
    site_means = [
        [line["heldout_loss"] for line in history_of(run, site) if line["heldout_loss"] is not None]
        for site in recipe_of(run).sites.simulated
    ]
    for place, when in enumerate(("before", "after")):
        told = sum(figure["records"] * figure[when] for figure in figures.values()) / 12
        exact = sum(means[place] for means in site_means) / len(site_means)
        assert told == pytest.approx(exact, rel=0.1)  # by record there, by token here
