"""Tasks: told apart by a field, weighed in training alone, and every one of them agreed on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sealora_client.data.example import Example
from sealora_client.data.load import load_data, read_records_of
from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.clipped_sum import ClippedSum
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import DataError, RecipeError
from sealora_common.recipe import Recipe, parse_recipe

from single_examples import load, plan_for, recipe_for, reference_gradients, relative_error, write_random_adapter

TASKS = {"triage": 1.0, "coding": 3.0}


def tasks_recipe(**training: object) -> Recipe:
    return recipe_for(
        Path("unused"),
        data={"task_field": "task", "max_tokens": 64},
        objective={"task_weights": TASKS},
        training={"sample_rate": 1.0, **training},
    )


def write(path: Path, tasks: list[object]) -> Path:
    lines = [
        {"prompt": f"Which {place}?", "response": f"the {place}", "split": "heldout" if place < 2 else "train"}
        | ({} if task is None else {"task": task})
        for place, task in enumerate(tasks)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tiny_base: Callable[..., Path]) -> AdaptedModel:
    return load(tiny_base("llama"))


def test_a_record_has_its_task_s_weight(model: AdaptedModel, tmp_path: Path) -> None:
    path = write(tmp_path / "site.jsonl", ["triage", "coding", "coding ", "triage", "coding"])
    data = load_data(path, tasks_recipe(), model)
    assert [unit[0].weight for unit in data.train.units] == [3.0, 1.0, 3.0]
    assert [unit[0].weight for unit in data.heldout.units] == [1.0, 3.0]


def test_the_task_is_no_part_of_what_a_record_is_known_by(tmp_path: Path) -> None:
    one = read_records_of(write(tmp_path / "one.jsonl", ["triage"] * 5), tasks_recipe())
    other = read_records_of(write(tmp_path / "other.jsonl", ["coding"] * 5), tasks_recipe())
    assert one.train_set.fingerprint == other.train_set.fingerprint
    assert one.train_set.members == other.train_set.members


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (["triage", "coding", "triage", None, "triage"], r'line 4.*"task".*data.task_field'),
        (["triage", "coding", "triage", 4, "triage"], r'line 4.*"task"'),
    ],
)
def test_a_record_without_a_task_is_refused_with_its_place(tmp_path: Path, tasks: list[object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_records_of(write(tmp_path / "site.jsonl", tasks), tasks_recipe())


def test_a_record_of_no_agreed_task_teaches_nothing_and_is_named(model: AdaptedModel, tmp_path: Path) -> None:
    path = write(tmp_path / "site.jsonl", ["triage", "coding", "triage", "other", "others"])
    data = load_data(path, tasks_recipe(), model)
    assert [unit[0].unusable for unit in data.train.units] == [None, "task", "task"]
    assert len(data.train_set) == 3
    assert data.warning is not None
    assert "objective.task_weights does not name their tasks (lines 4, 5)" in data.warning


def test_weights_scale_gradients_before_they_are_clipped(model: AdaptedModel) -> None:
    write_random_adapter(model)
    recipe = tasks_recipe()
    generator = np.random.default_rng(0)
    examples = [
        Example(generator.integers(3, 384, 12).astype(np.int32), 5, weight=weight) for weight in (1.0, 3.0, 0.5)
    ]
    layout = adapter_kind(recipe).trained(model.layout, 1)
    rows = reference_gradients(model, layout, examples)
    clip_norm = 2.0 * float(rows.norm(dim=1).max())
    sums = ClippedSum(
        model,
        layout,
        Population.of(examples),
        plan=plan_for(recipe),
        recipe=recipe,
        clip_norm=clip_norm,
        entropy=SeededEntropy("s"),
    )
    with sums:
        total = sums.draw() * clip_norm / (1 << 24)
    heavy = 3 * rows[1] * min(1.0, clip_norm / float(3 * rows[1].norm()))
    assert relative_error(total, rows[0] + heavy + 0.5 * rows[2]) < 1e-5
    plain = [Example(example.tokens, 5) for example in examples]
    measured = [HeldoutLossMetric().measure(model, Population.of(each), recipe).by_unit for each in (examples, plain)]
    np.testing.assert_array_equal(*measured)


@pytest.mark.parametrize("override", ["data.task_field=task", "objective.task_weights={a: 2}"])
def test_one_without_the_other_is_refused(override: str) -> None:
    with pytest.raises(RecipeError, match="set both, or neither"):
        parse_recipe("name: test\nrounds: 2\nmodel: {base: some/model}\n", overrides=[override])
