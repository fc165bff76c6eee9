"""What holds of each objective: losses and gradients of a record by itself, in the sums that training makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from objective_bench import OBJECTIVES, objective_recipe, single_gradients, single_losses, some_of

from sealora_client.audit.attribution import CanaryGradients
from sealora_client.audit.canaries import make_canaries
from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective import reference
from sealora_client.objective.choice import objective_of
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_client.training.gradients.per_example import PerExampleGradients
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe

from dp_sgd_runs import train
from single_examples import clipped_sum_of, load, plan_for, relative_error, write_random_adapter

STEPS = 1 << 24
every_objective = pytest.mark.parametrize("name", OBJECTIVES)


@pytest.fixture(autouse=True)
def _same_adapter(model: AdaptedModel) -> None:
    write_random_adapter(model)


def drawn_sum(model: AdaptedModel, recipe: Recipe, population: Population, clip_norm: float) -> ClippedSum:
    layout = adapter_kind(recipe).trained(model.layout, 1)
    plan = plan_for(recipe)
    return ClippedSum(
        model, layout, population, plan=plan, recipe=recipe, clip_norm=clip_norm, entropy=SeededEntropy("s")
    )


@every_objective
@pytest.mark.parametrize("micro_batch_size", [1, 3, 16])
def test_the_clipped_sum_equals_a_loop_over_single_examples(
    model: AdaptedModel, name: str, micro_batch_size: int
) -> None:
    recipe = objective_recipe(name, training={"sample_rate": 1.0, "micro_batch_size": micro_batch_size})
    examples = some_of(recipe, model, 7)
    expected = single_gradients(recipe, model, adapter_kind(recipe).trained(model.layout, 1), examples)
    clip_norm = float(expected.norm(dim=1).median())
    with drawn_sum(model, recipe, Population.of(examples), clip_norm) as sums:
        total = sums.draw()
    assert relative_error(total * clip_norm / STEPS, clipped_sum_of(expected, clip_norm)) < 1e-5
    # Of a pair whose two gradients nearly cancel, what is left is small beside its rounding.
    norms = pytest.approx(sorted(expected.norm(dim=1).tolist()), rel=1e-5, abs=1e-5 * clip_norm)
    assert sorted(sums.figures.norms) == norms


@every_objective
def test_a_person_s_contribution_is_the_mean_over_their_records(model: AdaptedModel, name: str) -> None:
    recipe = objective_recipe(name, training={"sample_rate": 1.0, "micro_batch_size": 2})
    examples = some_of(recipe, model, 5)
    rows = single_gradients(recipe, model, adapter_kind(recipe).trained(model.layout, 1), examples)
    persons = ["a", "b", "a", "a", "b"]
    expected = torch.stack([rows[[0, 2, 3]].mean(dim=0), rows[[1, 4]].mean(dim=0)])
    with drawn_sum(model, recipe, Population.of(examples, persons), 100.0) as sums:
        total = sums.draw()
    assert sums.figures.clipped == 0
    assert relative_error(total * 100.0 / STEPS, expected.sum(dim=0)) < 1e-4  # the grid is coarse at this norm


@every_objective
def test_held_out_losses_equal_a_loop_over_single_examples(model: AdaptedModel, name: str) -> None:
    recipe = objective_recipe(name)
    examples = some_of(recipe, model, 9)
    found = HeldoutLossMetric().measure(model, Population.of(examples), recipe)
    assert found.by_unit.tolist() == pytest.approx(single_losses(recipe, model, examples), rel=1e-5, abs=1e-6)


def rows_of(model: AdaptedModel, recipe: Recipe, examples: Sequence[Example]) -> torch.Tensor:
    """The gradients of a micro-batch of four places, of which nothing is remembered."""
    reference._starts.clear()
    objective = objective_of(recipe)
    layout = adapter_kind(recipe).trained(model.layout, 1)
    model.train_only(layout)
    gradients = PerExampleGradients(model.tensors_of(layout), 4)
    with gradients:
        gradients.start(4)
        batch = objective.batch(examples, model.pad_id, model.device, 4)
        gradients.begin(objective.owners(range(len(examples))), batch.length, batch.rows)
        objective.losses(model, batch).means.sum().backward()
        return gradients.rows()[: len(examples)]


@every_objective
def test_a_row_s_bits_depend_on_its_own_record_alone(model: AdaptedModel, name: str) -> None:
    recipe = objective_recipe(name)
    first, *others = some_of(recipe, model, 7)
    empty = Example.placeholder("template")
    alone = rows_of(model, recipe, [first])[0]
    assert alone.any()
    for company in ([*others[:3]], [*others[3:]], [empty], [empty, empty, others[0]]):
        for place in range(len(company) + 1):
            together = rows_of(model, recipe, [*company[:place], first, *company[place:]])
            assert torch.equal(together[place], alone)


@every_objective
def test_a_placeholder_has_no_loss_and_no_gradient(model: AdaptedModel, name: str) -> None:
    recipe = objective_recipe(name)
    objective, empty = objective_of(recipe), Example.placeholder("prompt")
    assert not rows_of(model, recipe, [*some_of(recipe, model, 1), empty])[1].any()
    batch = objective.batch([empty], model.pad_id, model.device, 3)
    losses = objective.losses(model, batch)
    assert losses.sums.tolist() == losses.counts.tolist() == [0, 0, 0]


@every_objective
def test_models_whose_rows_are_apart_pass_under_it(model: AdaptedModel, four_bit: AdaptedModel, name: str) -> None:
    for each in (model, four_bit):
        require_batch_invariant(each, objective_recipe(name, data={"max_tokens": 60}))


@every_objective
def test_a_model_that_mixes_rows_is_refused_under_it(tiny_base: Callable[..., Path], name: str) -> None:
    mixing = load(tiny_base("llama"))
    for part, module in mixing.model.named_modules():
        if part.endswith("up_proj"):
            module.register_forward_hook(lambda _, inputs, output: output - output.mean(dim=0, keepdim=True))
    with pytest.raises(ModelError, match="mixes the examples of a batch"):
        require_batch_invariant(mixing, objective_recipe(name, data={"max_tokens": 60}))


@every_objective
def test_private_training_lowers_the_loss(model: AdaptedModel, name: str) -> None:
    training = {"sample_rate": 0.9, "steps_per_round": 20, "micro_batch_size": 8, "learning_rate": 5e-3}
    recipe = objective_recipe(name, training=training, privacy={"clip_norm": 1.0})
    population = Population.of(some_of(recipe, model, 12))
    before = HeldoutLossMetric().measure(model, population, recipe).mean
    trained = train(model, recipe, population, noise=0.01)
    assert trained.figures.non_finite == 0
    after = HeldoutLossMetric().measure(model, population, recipe).mean
    assert after < 0.8 * before


@every_objective
def test_canaries_are_examples_of_it(model: AdaptedModel, name: str) -> None:
    recipe = objective_recipe(name, data={"max_tokens": 60})
    records = Population.of(some_of(recipe, model, 6))
    canaries = make_canaries(5, records, model.tokenizer, recipe, SeededEntropy("c")).population
    assert all(len(example.sequences) == objective_of(recipe).width for (example,) in canaries.units)
    assert all(example.length <= 60 for (example,) in canaries.units)
    layout = adapter_kind(recipe).trained(model.layout, 1)
    gradients = CanaryGradients(model, layout, canaries, records, recipe=recipe, clip_norm=1.0)
    change = -single_gradients(recipe, model, layout, [canaries.units[2][0]])[0]
    found = gradients.coefficients(change.float().numpy())
    assert int(found.argmax()) == 2
    assert all(math.isfinite(value) for value in found)
