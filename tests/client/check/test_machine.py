"""The machine, the base model, and how long a round takes."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from enrolled_site import EnrolledSite

from sealora_client.check import dry_run as dry_run_module
from sealora_client.check import machine as machine_module
from sealora_client.check.dry_run import DryRun
from sealora_client.check.workload import Workload
from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.model.adapted import adapted_model
from sealora_client.site.directory import Site
from sealora_client.training.gradients import batch_invariance

from check_site import check, not_passed
from pure_sites import pure_recipe


def test_a_full_disk_is_said(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk(free: int) -> list[tuple[str, str]]:
        monkeypatch.setattr(machine_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        return [entry[:2] for entry in not_passed(site, "--quick")]

    assert disk(50 << 20) == [("fail", "disk")]
    assert disk(500 << 20) == [("warn", "disk")]
    assert disk(50 << 30) == []


def test_a_base_model_that_does_not_fit_is_said_and_not_tried(
    site: EnrolledSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "free_memory", lambda: 1000)
    found = not_passed(site)
    assert [entry[:2] for entry in found] == [("fail", "memory"), ("warn", "training")]
    assert "agree on a smaller model or on nf4" in found[0][2]


def test_a_package_that_the_metric_takes_and_is_missing_is_said_before_anything_is_tried(
    site: EnrolledSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site.directory / "recipe.yaml"
    evaluation = {"metric": "rouge_l", "max_new_tokens": 4}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"evaluation": evaluation}))
    assert "rouge_l of answers of up to 4 tokens" in [each["said"] for each in check(site, "--quick")[1]]
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    found = [entry for entry in not_passed(site, "--quick") if entry[1] == "evaluation"]
    missing = 'ROUGE-L needs the package rouge-score, which is not installed: pip install "sealora[evaluation]"'
    assert found == [("fail", "evaluation", missing)]


def test_training_that_does_not_fit_is_said(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(self: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(dry_run_module.ClippedSum, "draw", draw)
    ((status, name, said),) = not_passed(site)
    assert (status, name) == ("fail", "memory")
    assert "agree on a smaller training.micro_batch_size" in said


def test_a_model_in_which_examples_meet_is_said_before_there_is_a_round(site: EnrolledSite) -> None:
    model = adapted_model(Site(site.directory).recipe)
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: output - output.mean(dim=0, keepdim=True))
        for name, module in model.model.named_modules()
        if name.endswith("up_proj")
    ]
    batch_invariance._passed.pop(model, None)  # as in the new process that a person's `check` is
    try:
        ((status, name, said),) = not_passed(site)
    finally:
        for hook in hooks:
            hook.remove()
    assert (status, name) == ("fail", "training")
    assert "mixes the examples of a batch" in said


def test_another_base_model_is_said(site: EnrolledSite) -> None:
    site.agree("model", digest="ab" * 32)
    found = not_passed(site)
    assert ("fail", "base model") in [entry[:2] for entry in found]
    assert any("but the recipe's model.digest is abababababab" in said for _, _, said in found)


def test_a_base_model_that_is_not_here_is_not_fetched(site: EnrolledSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALORA_CACHE", str(site.directory / "cache"))
    site.agree("model", base="smollm2-135m-instruct")
    found = not_passed(site)
    assert any("is not here: run `sealora-site model fetch smollm2-135m-instruct`" in said for _, _, said in found)
    assert not (site.directory / "cache").exists()


def test_a_round_that_takes_too_long_is_said(site: EnrolledSite) -> None:
    site.agree("sites", training_timeout=1e-4)
    assert [entry[:2] for entry in not_passed(site)] == [("fail", "time")]


def test_a_round_s_time_is_estimated_from_its_parts() -> None:
    """4 steps of 12 records in micro-batches of 8, each with its noise, and 9 held-out records in 2 micro-batches."""
    recipe = pure_recipe(training={"steps_per_round": 4, "sample_rate": 0.5, "micro_batch_size": 8})
    example = Example(np.zeros(5, dtype=np.int32), prompt_length=2)
    workload = Workload(Population.of([example] * 24), Population.of([example] * 9))
    trial = DryRun(batch=2.0, forward=1.0, noise=0.5)
    # Of the last micro-batch of each length 3.5 rows are dummies on average.
    assert trial.round_seconds(recipe, workload) == 4 * ((12 + 3.5) / 8 * 2.0 + 0.5) + 2 * 1.0
    # Several devices share out the sums, and neither noise nor evaluation.
    assert trial.round_seconds(recipe, workload, devices=4) == 4 * ((12 + 3.5) / 8 * 2.0 / 4 + 0.5) + 2 * 1.0
    longer = Example(np.zeros(60, dtype=np.int32), prompt_length=2)
    workload = Workload(Population.of([example] * 20 + [longer] * 4), Population.of([example] * 9 + [longer]))
    assert trial.round_seconds(recipe, workload) == 4 * ((10 + 3.5 + 2 + 3.5) / 8 * 2.0 + 0.5) + 3 * 1.0


def test_of_a_person_with_many_records_the_estimate_counts_those_that_are_used() -> None:
    recipe = pure_recipe(
        training={"steps_per_round": 1, "sample_rate": 1.0, "micro_batch_size": 1},
        data={"person_field": "patient"},
        privacy={"records_per_person": 3},
    )
    example = Example(np.zeros(5, dtype=np.int32), prompt_length=2)
    workload = Workload(Population.of([example] * 12, ["a"] * 10 + ["b"] * 2), Population.of([example]))
    assert DryRun(batch=1.0, forward=0.0, noise=0.0).round_seconds(recipe, workload) == 3 + 2


def test_both_parts_are_counted_in_persons_where_a_person_is_the_unit() -> None:
    recipe = pure_recipe(data={"person_field": "patient"})
    example = Example(np.arange(4, dtype=np.int32), 1)
    workload = Workload(Population([[example] * 3] * 20), Population([[example] * 2] * 5))
    said = next(finding.said for finding in workload.check(recipe))
    assert said.startswith("60 of 20 persons to train on, 10 of 5 persons held out, ")
