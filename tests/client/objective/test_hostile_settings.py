"""Whatever a recipe sets, and whatever one record gives, that record moves a sum by one clipping norm and no other's
bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from objective_bench import OBJECTIVES, objective_recipe, some_of

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective import reference
from sealora_client.training import clipped_sum
from sealora_client.training.clipped_sum import ClippedSum
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure

from adapter_kinds import KINDS, ON_ONE_BASE, made_up_adapter
from single_examples import plan_for

STEPS = 1 << 24
POISON = 383
EXTREMES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "a huge beta": {"objective": {"beta": 1e308}},
    "a tiny beta": {"objective": {"beta": 1e-150}, "privacy": {"heldout_clip": 1e308}},
    "a clipping norm of nothing": {"privacy": {"clip_norm": 1e-300}},
    "a clipping norm of everything": {"privacy": {"clip_norm": 1e300}},
}


def cases() -> Iterator[tuple[str, str]]:
    for name, sections in OBJECTIVES.items():
        for extreme, changes in EXTREMES.items():
            if (name, extreme) == ("ipo", "a tiny beta"):
                continue  # refused: its figure would not travel
            has_beta, of_beta = "beta" in sections.get("objective", {}), "objective" in changes
            if has_beta if of_beta else extreme == "as it is" or name == "causal":
                yield name, extreme


def poisoned(model: AdaptedModel) -> None:
    """A record with the last token gives what is no number, and no other does."""
    with torch.no_grad():
        model.model.get_input_embeddings().weight[POISON] = torch.inf


def draw(
    monkeypatch: pytest.MonkeyPatch, model: AdaptedModel, recipe: Recipe, population: Population, indices: Sequence[int]
) -> ClippedSum:
    monkeypatch.setattr(clipped_sum, "poisson_batch", lambda *_: np.array(indices, dtype=np.int64))
    reference._starts.clear()
    layout = adapter_kind(recipe).trained(model.layout, 1)
    clip_norm = recipe.privacy.clip_norm
    return ClippedSum(
        model,
        layout,
        population,
        plan=plan_for(recipe),
        recipe=recipe,
        clip_norm=clip_norm,
        entropy=SeededEntropy("s"),
    )


def hostile(recipe: Recipe, model: AdaptedModel, count: int) -> list[Example]:
    """Examples of which one is poisoned in its prompt, one in its (chosen) response."""
    examples = some_of(recipe, model, count)
    for example in examples:
        for sequence in example.sequences:
            sequence.tokens[sequence.tokens == POISON] = 5
    examples[1].tokens[0] = POISON
    if examples[2].rejected is not None:
        examples[2].rejected.tokens[-1] = POISON
    examples[2].tokens[0] = POISON
    return examples


def assert_one_moves_one_norm(
    monkeypatch: pytest.MonkeyPatch, model: AdaptedModel, recipe: Recipe, population: Population
) -> int:
    everybody = list(range(len(population)))
    with draw(monkeypatch, model, recipe, population, everybody) as sums:
        whole, figures = sums.draw(), sums.figures
    assert whole.isfinite().all()
    for left_out in everybody:
        others = [index for index in everybody if index != left_out]
        with draw(monkeypatch, model, recipe, population, others) as sums:
            without = sums.draw()
        with draw(monkeypatch, model, recipe, population, [left_out]) as sums:
            alone = sums.draw()
        assert torch.equal(whole - without, alone), left_out  # to the last bit
        assert float((alone / STEPS).norm()) <= 1.0
    return figures.non_finite


def of_tiny_base(recipe: Recipe, base: Path) -> tuple[AdaptedModel, Recipe]:
    """A model in which a poisoned record, and no other, gives what is no number."""
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"base": str(base)})})
    model = AdaptedModel.load(recipe)
    model.write(made_up_adapter(model, recipe))
    poisoned(model)
    return model, recipe


@pytest.mark.parametrize(("name", "extreme"), cases())
def test_under_every_objective_whatever_it_is_set_to(
    tiny_base: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str, extreme: str
) -> None:
    recipe = objective_recipe(name, **{"training": {"micro_batch_size": 4}}, **EXTREMES[extreme])
    model, recipe = of_tiny_base(recipe, tiny_base("llama"))
    population = Population.of(hostile(recipe, model, 6))
    assert assert_one_moves_one_norm(monkeypatch, model, recipe, population) >= 2
    # What is measured of the others is the same as without them, and what is no number counts as the worst.
    metric = HeldoutLossMetric()
    found, alone = (
        metric.measure(model, Population.of([each for (each,) in units]), recipe).by_unit
        for units in (population.units, [population.units[place] for place in (0, 3, 4, 5)])
    )
    assert found[[0, 3, 4, 5]].tolist() == alone.tolist()
    worst = HeldoutFigure.of(recipe).range_width(recipe)
    assert metric.public_range(recipe).clip(found)[[1, 2]].tolist() == [worst] * 2


@pytest.mark.parametrize(
    ("kind", "base", "clipping"),
    [(*case, "flat") for case in ON_ONE_BASE] + [(*case, "per_layer") for case in ON_ONE_BASE[1::4]],
)
def test_under_every_kind_of_adapter(
    tiny_base: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, kind: str, base: str, clipping: str
) -> None:
    recipe = objective_recipe("dpo", **{"training": {"micro_batch_size": 4}, "privacy": {"clipping": clipping}})
    recipe = Recipe.model_validate(recipe.model_dump(exclude={"lora"}) | KINDS[kind])
    model, recipe = of_tiny_base(recipe, tiny_base(base))
    population = Population.of(hostile(recipe, model, 5))
    assert assert_one_moves_one_norm(monkeypatch, model, recipe, population) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1e308, 1e30, 1e-30, 5e-324])
def test_at_any_weight_of_a_record_or_of_a_piece_of_its_text(
    tiny_base: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    recipe = objective_recipe("causal", **{"training": {"micro_batch_size": 4}})
    model, recipe = of_tiny_base(recipe, tiny_base("llama"))
    first, *others = (replace(example, weight=weight) for example in hostile(recipe, model, 6))
    examples = [replace(first, following=tuple(others[:2])), *others, Example.placeholder("template")]
    examples[-1] = replace(examples[-1], weight=weight)
    assert_one_moves_one_norm(monkeypatch, model, recipe, Population.of(examples))
