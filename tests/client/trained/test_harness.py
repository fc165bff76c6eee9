"""`sealora-site lm-eval`: tasks of the harness before and after, offline, on models that nobody else has loaded."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from statistics import stdev

import pytest
import torch
import yaml
from typer.testing import CliRunner

from quick_cases import quick_cases
from sealora_client.cli import cli
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.base import load_base
from sealora_client.model.tokenizer import base_tokenizer
from sealora_client.trained.harness_figures import HarnessRow, rows_of
from sealora_client.trained.trained_adapter import find_trained
from sealora_common.adapter import adapter_kind
from sealora_common.errors import DataError, PolicyError, SealoraError
from sealora_common.export.peft_directory import PeftDirectory

from adapter_kinds import made_up_adapter
from single_examples import recipe_for

pytest.importorskip("lm_eval")

COUNT = 12
CHOICES = ["A", "B", "C"]
TASK = {
    "task": "own_codes",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "What is {{text}}?\nAnswer:",
    "doc_to_choice": CHOICES,
    "doc_to_target": "label",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


@pytest.fixture(scope="module")
def run(tiny_base, tmp_path_factory) -> Path:
    """A run's directory, with an adapter that changes answers."""
    directory = tmp_path_factory.mktemp("asked") / "run"
    directory.mkdir()
    recipe = recipe_for(tiny_base())
    model = AdaptedModel.load(recipe)
    kind, made_up = adapter_kind(recipe), made_up_adapter(model, recipe, std=2.0)
    trained = {name: made_up[name] for name in kind.shared(model.layout).names}
    PeftDirectory().export(directory / "adapter", kind.initial(model.layout) | trained, recipe)
    (directory / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    return directory


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> Path:
    """A directory with a task of the site's own, and its documents."""
    directory = tmp_path_factory.mktemp("tasks")
    lines = [json.dumps({"text": f"case {number}", "label": number % len(CHOICES)}) for number in range(COUNT)]
    documents = directory / "codes.jsonl"
    documents.write_text("\n".join(lines) + "\n")
    files = {"dataset_kwargs": {"data_files": {"test": str(documents)}}}
    tasks = {
        "codes": TASK | files,
        "unsafe": TASK | files | {"task": "own_program", "unsafe_code": True},
        "among_others": {"group": "own_group", "task": ["own_codes", "own_program"]},
        "broken": TASK | files | {"task": "own_broken", "doc_to_text": "{{ text | nothing }}"},
        "failing": TASK | files | {"task": "own_failing", "doc_to_text": "{{ 1 / (label - 1) }}"},
        "absent": TASK
        | {"task": "own_absent", "dataset_kwargs": {"data_files": {"test": str(directory / "no.jsonl")}}},
        "elsewhere": TASK | {"task": "own_elsewhere", "dataset_path": "somebody/somewhere"},
    }
    for name, task in tasks.items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    return directory


def asked(run: Path, tasks: Path, *words: str) -> tuple[str, str]:
    result = CliRunner().invoke(cli, ["lm-eval", str(run), "--include-path", str(tasks), *words])
    if result.exception is not None:
        raise result.exception
    return result.stdout, result.stderr


def right(model: torch.nn.Module, tokenizer, documents: Path) -> list[float]:
    """Whether each document's likeliest choice is the right one, computed as the textbook has it."""
    found = []
    for line in documents.read_text().splitlines():
        document = json.loads(line)
        given = tokenizer(f"What is {document['text']}?\nAnswer:", add_special_tokens=False)["input_ids"]
        scores = []
        for choice in CHOICES:
            tokens = tokenizer(f"What is {document['text']}?\nAnswer: {choice}", add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
            scores.append(sum(float(logits[place - 1, tokens[place]]) for place in range(len(given), len(tokens))))
        found.append(float(scores.index(max(scores)) == document["label"]))
    return found


def test_a_task_is_asked_of_the_base_model_and_of_the_adapter(run, tasks):
    told, said = asked(run, tasks, "--tasks", "own_codes", "--json")
    found = json.loads(told)
    trained = find_trained(str(run), Path())
    base = Path(trained.recipe.model.base)
    adapted = AdaptedModel.load(trained.recipe)
    adapted.write({name: trained.tensors[name] for name in adapted.layout.names})
    before = right(load_base(trained.recipe.model, base), base_tokenizer(base), tasks / "codes.jsonl")
    after = right(adapted.model, adapted.tokenizer, tasks / "codes.jsonl")
    assert before != after
    (row,) = found["rows"]
    assert (row["task"], row["metric"], row["documents"], row["shots"]) == ("own_codes", "acc", COUNT, 0)
    assert row["before"] == pytest.approx(sum(before) / COUNT)
    assert row["after"] == pytest.approx(sum(after) / COUNT)
    gains = [new - old for old, new in zip(before, after, strict=True)]
    assert row["difference"] == pytest.approx(sum(gains) / COUNT)
    assert row["difference_error"] == pytest.approx(stdev(gains) / math.sqrt(COUNT))
    assert trained.digest[:12] in found["adapter"]
    assert trained.digest[:12] in said


def test_the_table_and_what_is_left_out(run, tasks):
    words = (
        "--tasks",
        "own_codes,own_codes",
        "--limit",
        "4",
        "--no-base",
        "--apply-chat-template",
        "--num-fewshot",
        "0",
    )
    told, _ = asked(run, tasks, *words)
    (row,) = [line for line in told.splitlines() if "own_codes" in line]
    assert row.split()[1:3] == ["acc", "4"]
    assert "difference" not in told
    assert "The first 4 documents of each task alone: to try it, not to report it." in told


BAD = {
    "no task, of the harness's own either": ("own_code", PolicyError, "no task 'own_code', did you mean own_codes"),
    "none named": (",", PolicyError, "--tasks names none"),
    "code of the model": ("own_program", PolicyError, "own_program runs code that the model has written, which is not"),
    "code of the model, in a group": ("own_group", PolicyError, "own_program runs code that the model has written"),
    "code of the model, of the harness's own": ("humaneval", PolicyError, "humaneval runs code that the model has"),
    "a broken template": ("own_broken", DataError, "own_broken cannot be read .*No filter named 'nothing'"),
    "a template that fails": ("own_failing", DataError, r"the tasks could not be run \(\w+: .*--limit 2"),
    "a file that is not there": ("own_absent", DataError, "own_absent cannot be read"),
    "data of the hub": ("own_elsewhere", DataError, "own_elsewhere cannot be read .*; nothing is fetched here"),
    "data of the hub, of the harness's own": ("medqa_4options", DataError, "medqa_4options cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize(
    "case", quick_cases(BAD, *(case for case in BAD if "of the hub" not in case and "harness's own" not in case))
)
def test_what_cannot_be_run_is_one_sentence(run, tasks, case):
    name, kind, said = BAD[case]
    with pytest.raises(kind, match=said) as raised:
        asked(run, tasks, "--tasks", name, "--no-base")
    assert "\n" not in str(raised.value)


def test_a_directory_that_is_not_there_and_a_package_that_is_not_installed(run, tasks, monkeypatch):
    with pytest.raises(PolicyError, match="no such directory"):
        asked(run, tasks / "nowhere", "--tasks", "own_codes")
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(SealoraError, match=r'not installed: pip install "sealora\[lm-eval\]"'):
        asked(run, tasks, "--tasks", "own_codes")


def made_up(values: list[float], figure: float, error: float | str = 0.1) -> dict:
    return {
        "results": {"t": {"alias": "t", "acc,none": figure, "acc_stderr,none": error, "sample_len": len(values)}},
        "higher_is_better": {"t": {"acc": True}},
        "n-samples": {"t": {"original": 9, "effective": len(values)}},
        "n-shot": {"t": 5},
        "samples": {
            "t": [{"doc_id": place, "filter": "none", "acc": value} for place, value in enumerate(values)]
            + [{"doc_id": 0, "filter": "other", "acc": 9.0}]
        },
    }  # fmt: skip


def test_a_difference_is_judged_document_by_document_where_the_metric_is_their_mean():
    (row,) = rows_of(made_up([0.0, 1.0, 1.0, 0.0], 0.5), made_up([0.0, 1.0, 1.0, 1.0], 0.75))
    assert row.difference_error == pytest.approx(0.25)
    assert (row.shots, row.documents, row.before_error) == (5, 4, 0.1)
    (other,) = rows_of(made_up([0.0, 1.0], 0.3, 0.3), made_up([0.0, 1.0], 0.9, 0.4))
    assert other.difference_error == pytest.approx(0.5)
    (unknown,) = rows_of(made_up([0.0, 1.0], 0.3, "N/A"), made_up([0.0, 1.0], 0.9, "N/A"))
    assert (unknown.difference, unknown.difference_error) == (pytest.approx(0.6), None)
    (alone,) = rows_of(None, made_up([0.0, 1.0], 0.5))
    assert (alone.before, alone.difference, alone.difference_error) == (None, None, None)


@pytest.mark.parametrize(("gained", "higher", "is_worse"), [
    (-0.3, True, True), (-0.1, True, False), (0.3, True, False), (0.3, False, True), (-0.3, False, False),
    (-0.3, None, False),
])  # fmt: skip
def test_what_was_forgotten_stands_out(gained, higher, is_worse):
    figures = {"before": 0.5, "after": 0.5 + gained, "before_error": 0.1, "after_error": 0.1}
    told = {"difference": gained, "difference_error": 0.1, "higher_is_better": higher}
    row = HarnessRow(task="t", metric="m", filter="none", shots=0, documents=9, **figures, **told)
    assert row.is_worse is is_worse


@pytest.mark.slow
def test_the_tasks_that_the_page_names_are_the_harness_s():
    from lm_eval.tasks import TaskManager

    page = (Path(__file__).parents[3] / "docs" / "model.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"^Tasks of the harness that suit: (.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    names = re.findall(r"`(\w+)`", named)
    assert len(names) > 10
    assert set(names) <= set(TaskManager().all_tasks)
