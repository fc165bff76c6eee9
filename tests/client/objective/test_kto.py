"""Wanted and unwanted responses: which way each is pushed, at what weight, within which bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from objective_bench import objective_recipe, single_gradients, some_of

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.data.record import Record
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import Batch, collate
from sealora_client.objective import kto
from sealora_client.objective.choice import objective_of
from sealora_client.objective.kto import WantedResponses
from sealora_client.objective.reference import Reference
from sealora_common.adapter import adapter_kind
from sealora_common.recipe.sections.data import DataSection

from single_examples import write_random_adapter
from tiny_models import tiny_tokenizer

RECIPE = objective_recipe("kto", objective={"wanted_weight": 2.0, "unwanted_weight": 0.5})


def test_a_record_s_verdict_becomes_its_example_s_and_its_weight() -> None:
    records = [Record("a", "yes", wanted=True), Record("a", "no", wanted=False)]
    examples = objective_of(RECIPE).examples(records, tiny_tokenizer(), DataSection(layout="feedback"))
    assert [(example.wanted, example.weight) for example in examples] == [(True, 2.0), (False, 0.5)]


def test_wanted_and_unwanted_pull_opposite_ways(model: AdaptedModel) -> None:
    """At the start, where neither is more likely than it was, exactly."""
    model.write(adapter_kind(RECIPE).initial(model.layout))
    (example,) = some_of(RECIPE, model, 1)
    layout = adapter_kind(RECIPE).trained(model.layout, 1)
    both = [replace(example, wanted=wanted) for wanted in (True, False)]
    one, other = single_gradients(RECIPE, model, layout, both)
    torch.testing.assert_close(one, -other)
    assert one.any()


def test_the_loss_begins_at_a_half_and_stays_between_0_and_1(model: AdaptedModel) -> None:
    population = Population.of(some_of(RECIPE, model, 12))
    model.write(adapter_kind(RECIPE).initial(model.layout))
    start = HeldoutLossMetric().measure(model, population, RECIPE).by_unit
    assert start.tolist() == pytest.approx([0.5] * 12, abs=1e-6)
    write_random_adapter(model)
    found = HeldoutLossMetric().measure(model, population, RECIPE).by_unit
    assert all(0 <= value <= 1 for value in found)
    assert found.std() > 0.1
    public = HeldoutLossMetric().public_range(RECIPE)
    assert (public.low, public.high, public.worst) == (0.0, 1.0, 1.0)


def test_a_row_s_loss_has_the_same_bits_wherever_it_stands(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of losses that are computed together the last ones would be rounded otherwise."""
    generator = torch.Generator().manual_seed(0)
    now, before = (40 * torch.rand(403, generator=generator) for _ in range(2))
    objective = WantedResponses(_Given(before), 1.0)
    example = Example(torch.arange(9).numpy(), 4)

    def losses(places: slice) -> torch.Tensor:
        rows = now[places]
        monkeypatch.setattr(kto, "response_losses", lambda *_: (rows, torch.ones(len(rows), dtype=torch.int64)))
        monkeypatch.setattr(kto.torch, "sigmoid", lambda value: torch.remainder(value.sigmoid() * 2.0**53, 2.0**20))
        given = WantedResponses(_Given(before[places]), 1.0)
        return given.losses(model, objective.batch([example] * len(rows), 0, "cpu", len(rows))).sums

    together = losses(slice(None))
    assert torch.equal(together, torch.cat([losses(slice(place, place + 1)) for place in range(len(now))]))


class _Given(Reference):
    """A reference that says what a test says."""

    def __init__(self, losses: torch.Tensor) -> None:
        object.__setattr__(self, "said", losses)

    def response_losses(self, model: AdaptedModel, batch: Batch) -> torch.Tensor:
        return self.said


def test_another_objective_s_batch_is_not_taken_for_one_of_its_own(model: AdaptedModel) -> None:
    batch = collate([Example(torch.arange(9).numpy(), 4)], 0, "cpu", 2)
    with pytest.raises(TypeError, match="own"):
        objective_of(RECIPE).losses(model, batch)
