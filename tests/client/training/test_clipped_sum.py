"""One step's clipped sum over a Poisson sample: records, persons, votes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import response_losses
from sealora_client.objective import causal, objective
from sealora_client.training import clipped_groups, clipped_sum
from sealora_client.training.clipped_groups import ClippingFigures
from sealora_client.training.clipped_sum import ClippedSum
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import DataError
from sealora_common.round.clip_norm import VOTE, steps_of_gradient

from lora_kinds import lora
from single_examples import (
    clipped_sum_of,
    load,
    plan_for,
    random_examples,
    recipe_for,
    reference_gradients,
    relative_error,
    some_examples,
)

Base = Callable[..., Path]
UNITS = 1 << 24
BY_PERSON = {"data": {"person_field": "person"}}


def sums_of(
    model: AdaptedModel,
    population: Population,
    *,
    clip_norm: float = 1.0,
    grid_steps: int = UNITS,
    seed: str = "s",
    **changes: dict[str, Any],
) -> ClippedSum:
    training = {"sample_rate": 1.0, **changes.pop("training", {})}
    recipe = recipe_for(Path("unused"), training=training, **changes)
    layout = adapter_kind(recipe).trained(model.layout, 1)
    entropy = SeededEntropy(seed)
    plan = plan_for(recipe, grid_steps=grid_steps)
    return ClippedSum(model, layout, population, plan=plan, recipe=recipe, clip_norm=clip_norm, entropy=entropy)


def draw(sums: ClippedSum, count: int = 1) -> list[Tensor]:
    with sums:
        return [sums.draw() for _ in range(count)]


def records(model: AdaptedModel, examples: Sequence[Example]) -> Tensor:
    """Reference gradients of the records, float64 (records, P)."""
    return reference_gradients(model, lora().trained(model.layout, 1), examples)


def sampled(monkeypatch: pytest.MonkeyPatch, *indices: int) -> None:
    monkeypatch.setattr(clipped_sum, "poisson_batch", lambda *_: np.array(indices, dtype=np.int64))


@pytest.mark.parametrize("micro_batch_size", [1, 3, 100])
def test_the_sum_over_the_sample_equals_a_loop(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch, micro_batch_size: int
) -> None:
    examples = some_examples(12)
    drawn = [0, 2, 3, 5, 7, 8, 11]
    sampled(monkeypatch, *drawn)
    expected = records(model, [examples[index] for index in drawn])
    clip_norm = float(expected.norm(dim=1).median())
    training = {"micro_batch_size": micro_batch_size}
    sums = sums_of(model, Population.of(examples), clip_norm=clip_norm, training=training)
    (total,) = draw(sums)
    assert relative_error(total * clip_norm / UNITS, clipped_sum_of(expected, clip_norm)) < 1e-5
    assert torch.equal(total, total.round())
    assert sums.figures.examples == len(sums.figures.norms) == 7
    assert sorted(sums.figures.norms) == pytest.approx(sorted(expected.norm(dim=1).tolist()), rel=1e-5)
    assert sums.figures.median_norm == pytest.approx(clip_norm, rel=1e-5)
    assert 3 <= sums.figures.clipped <= 4  # the median is on the edge
    assert sums.figures.clipped_fraction == sums.figures.clipped / 7


def test_a_batch_of_one(model: AdaptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = some_examples(5)
    sampled(monkeypatch, 3)
    (total,) = draw(sums_of(model, Population.of(examples)))
    assert relative_error(total / UNITS, clipped_sum_of(records(model, [examples[3]]), 1.0)) < 1e-5


def test_an_empty_sample_sums_to_zero_without_a_forward_pass(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled(monkeypatch)
    monkeypatch.setattr(causal, "response_losses", lambda *_: pytest.fail("the model was run"))
    for privacy in ({}, {"target_quantile": 0.5}):
        sums = sums_of(model, Population.of(some_examples(5)), privacy=privacy)
        (total,) = draw(sums)
        assert total.dtype == torch.float64
        assert total.shape == (sums.size,)
        assert not total.any()
        assert math.isnan(sums.figures.median_norm)
        assert math.isnan(sums.figures.clipped_fraction)


@pytest.mark.parametrize(("factor", "clipped"), [(0.5, 6), (1.5, 0)])
def test_all_clipped_and_none_clipped(model: AdaptedModel, factor: float, clipped: int) -> None:
    examples = some_examples(6)
    expected = records(model, examples)
    norms = expected.norm(dim=1)
    clip_norm = factor * float(norms.min() if clipped else norms.max())
    sums = sums_of(model, Population.of(examples), clip_norm=clip_norm)
    (total,) = draw(sums)
    assert relative_error(total * clip_norm / UNITS, clipped_sum_of(expected, clip_norm)) < 1e-5
    assert sums.figures.clipped == clipped


def test_without_privacy_plain_gradients_are_summed(model: AdaptedModel) -> None:
    examples = some_examples(6)
    sums = sums_of(model, Population.of(examples), clip_norm=1e-6, grid_steps=0, privacy={"mechanism": "none"})
    (total,) = draw(sums)
    assert relative_error(total, records(model, examples).sum(dim=0)) < 1e-5
    assert sums.figures.clipped == 0


def test_per_layer_clipping_equals_a_loop(model: AdaptedModel) -> None:
    examples = some_examples(4)
    layout = lora().trained(model.layout, 1)
    sizes = [spec.size for spec in layout.tensors]
    share = 2.0 / math.sqrt(len(sizes))
    parts = records(model, examples).split(sizes, dim=1)
    expected = torch.cat([clipped_sum_of(part, share) for part in parts])
    (total,) = draw(sums_of(model, Population.of(examples), clip_norm=2.0, privacy={"clipping": "per_layer"}))
    assert relative_error(total * 2.0 / UNITS, expected) < 1e-5
    assert relative_error(total * 2.0 / UNITS, clipped_sum_of(torch.cat(parts, dim=1), 2.0)) > 1e-2


def test_an_example_that_overflows_is_counted_and_harms_nobody(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(on: Any, batch: Any) -> tuple[Tensor, Tensor]:
        nll, count = response_losses(on, batch)
        return nll * torch.where(batch.attention_mask.sum(1) == 3, math.nan, 1.0), count

    examples = some_examples(6)
    poison = random_examples([(2, 1)])
    (expected,) = draw(sums_of(model, Population.of(examples), training={"micro_batch_size": 1}))
    monkeypatch.setattr(causal, "response_losses", poisoned)
    sums = sums_of(model, Population.of([*examples, *poison]), training={"micro_batch_size": 1})
    (total,) = draw(sums)
    assert torch.equal(total, expected)
    assert sums.figures.non_finite == 1
    assert math.isfinite(sums.figures.median_norm)
    assert sums.figures.clipped_fraction == sums.figures.clipped / 6


# Persons.


def persons_of(counts: Sequence[int]) -> tuple[Population, list[list[Example]]]:
    """A population of persons with so many examples each, of mixed lengths, interleaved in the order of the file."""
    examples = some_examples(sum(counts))
    owners = [str(person) for person, count in enumerate(counts) for _ in range(count)]
    order = np.random.default_rng(0).permutation(len(owners)).tolist()
    population = Population.of([examples[i] for i in order], [owners[i] for i in order])
    of_person = [[examples[i] for i in order if owners[i] == str(person)] for person in range(len(counts))]
    return population, of_person


def person_gradients(model: AdaptedModel, of_person: Sequence[Sequence[Example]]) -> Tensor:
    """Float64 (persons, P): each person's mean over their examples' gradients."""
    return torch.stack([records(model, examples).mean(dim=0) for examples in of_person])


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 100])
def test_all_records_of_a_person_make_one_clipped_contribution(model: AdaptedModel, micro_batch_size: int) -> None:
    """Also where they are spread over several micro-batches, or share one with other persons' records."""
    population, of_person = persons_of([1, 7, 2, 4])
    expected = person_gradients(model, of_person)
    clip_norm = float(expected.norm(dim=1).median())
    training = {"micro_batch_size": micro_batch_size}
    sums = sums_of(model, population, clip_norm=clip_norm, training=training, **BY_PERSON)
    (total,) = draw(sums)
    assert relative_error(total * clip_norm / UNITS, clipped_sum_of(expected, clip_norm)) < 1e-5
    assert (len(sums.figures.norms), sums.figures.examples) == (4, 14)


def test_one_person_moves_the_sum_by_no_more_than_one_clipping_norm(model: AdaptedModel) -> None:
    population, _ = persons_of([7])
    for privacy in ({}, {"clipping": "per_layer"}, {"target_quantile": 0.5}):
        sums = sums_of(model, population, clip_norm=0.01, privacy=privacy, **BY_PERSON)
        (total,) = draw(sums)
        assert 0.99 * UNITS**2 < sum(int(value) ** 2 for value in total.tolist()) <= UNITS**2


@pytest.mark.parametrize("privacy", [{}, {"clipping": "per_layer"}, {"target_quantile": 0.5}])
def test_a_person_more_changes_the_sum_by_a_vector_no_longer_than_the_units(
    model: AdaptedModel, privacy: dict[str, Any]
) -> None:
    """To the last bit, also where examples share a micro-batch: its shape does not depend on them."""
    population, _ = persons_of([3, 2, 5, 1])
    settings = {"privacy": privacy, **BY_PERSON}
    (whole,) = draw(sums_of(model, population, clip_norm=3.0, **settings))
    for left_out in range(4):
        others = Population(population.units[:left_out] + population.units[left_out + 1 :])
        (total,) = draw(sums_of(model, others, clip_norm=3.0, **settings))
        assert 0 < sum(int(value) ** 2 for value in (whole - total).tolist()) <= UNITS**2


def test_at_most_so_many_records_of_a_person_count_and_they_are_drawn_anew(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    population, of_person = persons_of([6, 2])
    seen: list[frozenset[int]] = []
    real = objective.collate

    def spied(examples: Sequence[Example], *more: Any) -> Any:
        where = {example.tokens.tobytes(): index for index, example in enumerate(of_person[0])}
        seen.append(frozenset(where[e.tokens.tobytes()] for e in examples if e.tokens.tobytes() in where))
        return real(examples, *more)

    monkeypatch.setattr(objective, "collate", spied)
    settings = {"privacy": {"records_per_person": 3}, "training": {"micro_batch_size": 8}, **BY_PERSON}
    sums = sums_of(model, population, **settings)
    totals = draw(sums, 60)
    assert sums.figures.examples == 60 * 5
    assert {len(chosen) for chosen in seen} == {3}
    assert len(set(seen)) > 10  # of 20 subsets
    counts = np.bincount([index for chosen in seen for index in chosen], minlength=6)
    assert ((counts - 30) ** 2 / 15).sum() < 20  # chi-squared, 5 degrees of freedom: 0.1 %
    for total, chosen in list(zip(totals, seen, strict=True))[:3]:
        expected = person_gradients(model, [[of_person[0][index] for index in chosen], of_person[1]])
        assert relative_error(total / UNITS, clipped_sum_of(expected, 1.0)) < 1e-5


@pytest.mark.parametrize(("records", "used"), [(2, 2), (3, 3), (4, 3)])
def test_a_person_with_one_record_too_many_is_cut_to_the_limit(model: AdaptedModel, records: int, used: int) -> None:
    population, _ = persons_of([records])
    sums = sums_of(model, population, privacy={"records_per_person": 3}, **BY_PERSON)
    draw(sums)
    assert sums.figures.examples == used


# What may be handed over in place of a record.


@pytest.mark.parametrize("privacy", [{}, {"target_quantile": 0.5}])
@pytest.mark.parametrize(
    "placeholder",
    [
        Example(np.array([], np.int32), 0),
        Example(np.array([5, 6, 7], np.int32), 3),
        Example(np.array([5], np.int32), 0),
    ],
    ids=["no tokens", "no response", "one token"],
)
def test_an_example_that_yields_nothing_to_predict_adds_nothing(
    model: AdaptedModel, placeholder: Example, privacy: dict[str, Any]
) -> None:
    examples = some_examples(5)
    (expected,) = draw(sums_of(model, Population.of(examples), privacy=privacy))
    sums = sums_of(model, Population.of([*examples[:2], placeholder, *examples[2:]]), privacy=privacy)
    (total,) = draw(sums)
    assert torch.equal(total[: lora().trained(model.layout, 1).size], expected[: lora().trained(model.layout, 1).size])
    assert (len(sums.figures.norms), sums.figures.norms.count(0.0), sums.figures.non_finite) == (6, 1, 0)
    if privacy:  # it votes as a unit whose gradient is short
        assert float(total[-1] - expected[-1]) == math.floor(VOTE * UNITS)


def test_a_response_without_a_prompt_is_learnt_from_its_second_token(model: AdaptedModel) -> None:
    tokens = random_examples([(1, 6)])[0].tokens
    (bare,), (prompted,) = (draw(sums_of(model, Population.of([Example(tokens, start)]))) for start in (0, 1))
    assert prompted.any()
    assert torch.equal(bare, prompted)


def test_dummies_add_nothing_even_where_they_overflow(model: AdaptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflowing(on: Any, batch: Any) -> tuple[Tensor, Tensor]:
        nll, count = response_losses(on, batch)
        dummies = (batch.token_count == 0)[:, None, None]
        assert int(dummies.sum()) == 1
        hidden = on.get_input_embeddings().weight[batch.tokens]
        return nll + (hidden * torch.where(dummies, math.inf, 0.0)).sum(dim=(1, 2)), count

    examples = some_examples(3)
    expected = sums_of(model, Population.of(examples))
    (total,) = draw(expected)
    monkeypatch.setattr(causal, "response_losses", overflowing)
    sums = sums_of(model, Population.of(examples))
    assert torch.equal(draw(sums)[0], total)
    assert sums.figures == expected.figures


# Adaptive clipping.


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_last_coordinate_counts_the_votes_and_the_gradient_makes_room(model: AdaptedModel, share: float) -> None:
    examples = some_examples(8)
    expected = records(model, examples)
    norms = expected.norm(dim=1).sort().values
    edges = [float(norms[0]) / 2, float(norms[3] + norms[4]) / 2, float(norms[-1]) * 2]
    clip_norm = edges[round(2 * share)]
    sums = sums_of(model, Population.of(examples), clip_norm=clip_norm, privacy={"target_quantile": 0.5})
    (total,) = draw(sums)
    unclipped = round(8 * share)
    assert sums.size == expected.shape[1] + 1 == len(total)
    assert int(total[-1]) == math.floor(VOTE * UNITS) * (2 * unclipped - 8)
    assert relative_error(total[:-1] * clip_norm / steps_of_gradient(UNITS), clipped_sum_of(expected, clip_norm)) < 1e-5


# The model while sums are drawn.


def test_the_model_trains_meanwhile_and_is_left_as_it_was(model: AdaptedModel) -> None:
    before = model.read(model.layout.names)
    for training in (True, False):
        model.model.train(training)
        with sums_of(model, Population.of(some_examples(5))) as sums:
            assert model.model.training
            sums.draw()
        assert model.model.training is training
    assert all("forward" not in tensor.module.__dict__ for _, tensor in model.tensors_of(model.layout))
    after = model.read(model.layout.names)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_dropout_follows_the_entropy_and_leaves_torch_s_generator_alone(tiny_base: Base) -> None:
    dropping = load(tiny_base("llama"), lora={"dropout": 0.5})
    population = Population.of(some_examples(5))
    torch.manual_seed(1)
    (first,) = draw(sums_of(dropping, population))
    state = torch.get_rng_state()
    again, after = draw(sums_of(dropping, population), 2)
    (other,) = draw(sums_of(dropping, population, seed="other"))
    assert torch.equal(first, again)
    assert not torch.equal(again, after)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_buffers_do_not_grow_with_the_logical_batch(model: AdaptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []

    class Measured(clipped_groups.PerExampleGradients):
        def start(self, count: int) -> None:
            assert count == 4  # kernels that measure and clip rows have a fixed shape, too
            rows.append(self.max_rows)
            super().start(count)

        def begin(self, owners: Sequence[int], length: int, batch_rows: int | None = None) -> None:
            assert len(owners) <= 4 == batch_rows
            super().begin(owners, length, batch_rows)

    monkeypatch.setattr(clipped_groups, "PerExampleGradients", Measured)
    for count in (8, 40):
        draw(sums_of(model, Population.of(some_examples(count))))
        draw(sums_of(model, persons_of([count // 4] * 8)[0], privacy={"records_per_person": 100}, **BY_PERSON))
    assert set(rows) == {4}


def test_figures_are_those_of_finite_gradients() -> None:
    figures = ClippingFigures([1.0, math.inf, math.inf, 2.0, math.inf, math.nan], clipped=1, non_finite=4)
    assert (figures.median_norm, figures.clipped_fraction) == (2.0, 0.5)


def test_no_records_are_refused(model: AdaptedModel) -> None:
    with pytest.raises(DataError, match="no training records"):
        sums_of(model, Population.of([]))
