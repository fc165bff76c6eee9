"""The reference: the model as it was, computed once, whatever the adapter is by now."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from objective_bench import objective_recipe, some_of

from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import response_losses
from sealora_client.objective import reference
from sealora_client.objective.choice import objective_of
from sealora_client.objective.reference import Reference
from sealora_client.training.gradients import batch_invariance
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_common.adapter import adapter_kind
from sealora_common.errors import ModelError

from single_examples import load, write_random_adapter

RECIPE = objective_recipe("dpo")


@pytest.fixture(autouse=True)
def _nothing_remembered(model: AdaptedModel) -> None:
    reference._starts.clear()
    write_random_adapter(model)


def at_start(model: AdaptedModel, count: int = 4, rows: int = 4) -> torch.Tensor:
    batch = objective_of(RECIPE).batch(some_of(RECIPE, model, count), model.pad_id, model.device, rows)
    return Reference(RECIPE).response_losses(model, batch)


def test_it_is_the_adapter_that_the_first_round_starts_from(model: AdaptedModel) -> None:
    found = at_start(model)
    write_random_adapter(model)
    batch = objective_of(RECIPE).batch(some_of(RECIPE, model, 4), model.pad_id, model.device, 4)
    model.write(adapter_kind(RECIPE).initial(model.layout))
    with torch.no_grad():
        assert torch.equal(found, response_losses(model.model, batch)[0])


def test_an_untrained_adapter_has_the_loss_of_not_knowing(model: AdaptedModel) -> None:
    model.write(adapter_kind(RECIPE).initial(model.layout))
    population = Population.of(some_of(RECIPE, model, 5))
    for name, expected in (("dpo", np.log(2)), ("cdpo", np.log(2)), ("ipo", 1.0)):
        found = HeldoutLossMetric().measure(model, population, objective_recipe(name)).by_unit
        assert found.tolist() == pytest.approx([expected] * 5, rel=1e-6)


def test_what_is_remembered_has_the_bits_of_what_is_computed(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = at_start(model)
    write_random_adapter(model)
    runs: list[int] = []
    monkeypatch.setattr(reference, "response_losses", lambda *given: runs.append(1) or response_losses(*given))
    again = at_start(model)
    assert not runs
    reference._starts.clear()
    assert torch.equal(at_start(model), first)
    assert runs == [1]
    assert torch.equal(again, first)


def test_rows_that_differ_in_shape_or_in_what_they_predict_are_told_apart(model: AdaptedModel) -> None:
    examples = some_of(RECIPE, model, 2)
    objective = objective_of(RECIPE)
    batches = [
        objective.batch(examples, model.pad_id, model.device, 2),
        objective.batch(examples, model.pad_id, model.device, 3),
        objective.batch(examples, model.pad_id, model.device, 2, 96),
        objective.batch(
            [type(each)(each.tokens, each.prompt_length - 1, rejected=each.rejected) for each in examples],
            model.pad_id,
            model.device,
            2,
        ),
    ]
    digests = [reference._digests(batch)[0] for batch in batches]
    assert len(set(digests)) == 4


def test_another_recipe_s_reference_is_another(model: AdaptedModel) -> None:
    at_start(model)
    other = objective_recipe("dpo", lora={"seed": 5})
    batch = objective_of(other).batch(some_of(other, model, 1), model.pad_id, model.device, 4)
    Reference(other).response_losses(model, batch)
    assert reference._starts[model].recipe == other.hash


def test_the_model_is_left_as_it_was(model: AdaptedModel) -> None:
    before = model.read(model.layout.names)
    model.model.train()
    try:
        at_start(model)
        assert model.model.training
        assert all(module.training for module in model.model.modules())
        assert torch.is_grad_enabled()
    finally:
        model.model.eval()
    after = model.read(model.layout.names)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_question_to_the_model_is_not_answered_from_memory(tiny_base) -> None:
    """Rows that meet in the reference alone would be found equal if the second arrangement were remembered."""
    mixing = load(tiny_base("llama"))
    scale = next(parameter for name, parameter in mixing.model.named_parameters() if ".lora_B." in name)

    def mixed(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output if scale.any() else output - output.mean(dim=0, keepdim=True)

    for name, module in mixing.model.named_modules():
        if name.endswith("up_proj"):
            module.register_forward_hook(mixed)
    require_batch_invariant(mixing, objective_recipe("orpo", data={"max_tokens": 60}))
    with pytest.raises(ModelError, match="mixes the examples of a batch"):
        require_batch_invariant(mixing, objective_recipe("dpo", data={"max_tokens": 60}))


def test_the_model_is_asked_anew_under_another_objective(model: AdaptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(batch_invariance, "_require_apart", lambda *_: asked.append(1))
    for name in ("ipo", "ipo", "dpo", "dpo"):
        require_batch_invariant(model, objective_recipe(name, data={"max_tokens": 50}))
    assert len(asked) == 2 * len({1, 2})  # the shortest and the longest micro-batches of each


def test_dropout_is_off_in_it(tiny_base) -> None:
    dropping = load(tiny_base("llama"), lora={"dropout": 0.5})
    base = dropping.model.get_base_model()
    for name, module in base.named_modules():
        if name.endswith("mlp"):
            module.register_forward_hook(
                lambda module, inputs, output: torch.nn.functional.dropout(output, 0.5, module.training)
            )
    dropping.model.train()
    first = at_start(dropping)
    reference._starts.clear()
    assert torch.equal(at_start(dropping), first)
