"""Objectives on other kinds of adapter than LoRA: what begins as ones, as values of the base model, or at random."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from objective_bench import objective_recipe, single_gradients, some_of

from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy

from adapter_kinds import KINDS, made_up_adapter
from single_examples import clipped_sum_of, plan_for, recipe_for, relative_error

ON = ("dora", "core", "full", "ia3", "layer_norm", "prompt_tuning")


@pytest.fixture(scope="module", params=ON)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def adapted(kind: str, tiny_base: Callable[..., Path]) -> AdaptedModel:
    return AdaptedModel.load(recipe_for(tiny_base("llama"), **KINDS[kind]))


@pytest.mark.slow  # 35 tests; each objective is held to it on LoRA, and each kind under `causal`
@pytest.mark.parametrize("name", ["all tokens", "classification", "dpo", "kto", "orpo"])
def test_gradients_equal_a_loop_over_single_examples(adapted: AdaptedModel, kind: str, name: str) -> None:
    recipe = objective_recipe(name, **KINDS[kind], training={"sample_rate": 1.0, "micro_batch_size": 3})
    adapted.write(made_up_adapter(adapted, recipe))
    layout = adapter_kind(recipe).trained(adapted.layout, 1)
    examples = some_of(recipe, adapted, 5)
    expected = single_gradients(recipe, adapted, layout, examples)
    clip_norm = float(expected.norm(dim=1).median())
    sums = ClippedSum(
        adapted,
        layout,
        Population.of(examples),
        plan=plan_for(recipe),
        recipe=recipe,
        clip_norm=clip_norm,
        entropy=SeededEntropy("s"),
    )
    with sums:
        total = sums.draw()
    assert relative_error(total * clip_norm / (1 << 24), clipped_sum_of(expected, clip_norm)) < 2e-5


def test_the_reference_is_what_the_kind_begins_with(adapted: AdaptedModel, kind: str) -> None:
    recipe = objective_recipe("dpo", **KINDS[kind])
    population = Population.of(some_of(recipe, adapted, 4))
    adapted.write(made_up_adapter(adapted, recipe))
    moved = HeldoutLossMetric().measure(adapted, population, recipe).by_unit
    adapted.write(adapter_kind(recipe).initial(adapted.layout))
    start = HeldoutLossMetric().measure(adapted, population, recipe).by_unit
    assert start.tolist() == pytest.approx([0.693147] * 4, abs=1e-5)
    assert abs(moved - start).min() > 1e-3


def test_the_model_is_asked_under_pairs(adapted: AdaptedModel, kind: str) -> None:
    require_batch_invariant(adapted, objective_recipe("dpo", **KINDS[kind], data={"max_tokens": 60}))
