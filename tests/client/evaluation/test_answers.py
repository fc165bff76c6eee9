"""Exact match and token accuracy: in one pass what greedy decoding would say token by token."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.evaluation.answers import ExactMatchMetric, TokenAccuracyMetric
from sealora_client.evaluation.choice import federation_metric
from sealora_client.model.adapted import AdaptedModel
from sealora_common.recipe import parse_recipe

from single_examples import load

MINIMAL = "name: test\nrounds: 2\nmodel: {base: some/model}\ntraining: {micro_batch_size: 4}\n"
RECIPE = parse_recipe(MINIMAL, overrides=["evaluation.metric=exact_match"])


@pytest.fixture(scope="module")
def model(tiny_base) -> AdaptedModel:
    return load(tiny_base("llama"))


def decoded(model: AdaptedModel, prompt: list[int], length: int) -> list[int]:
    """What greedy decoding writes after the prompt, a forward pass for each token."""
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(length):
            logits = model.model(input_ids=torch.tensor([tokens])).logits[0, -1]
            tokens.append(int(logits.argmax()))
    return tokens


@pytest.fixture(scope="module")
def answered(model: AdaptedModel) -> list[Example]:
    """Examples whose responses are what the model itself says, of several lengths."""
    random = np.random.default_rng(4)
    made = []
    for length in (1, 2, 3, 5, 8, 3, 4):
        prompt = random.integers(3, 250, size=int(random.integers(2, 12))).tolist()
        made.append(Example(np.array(decoded(model, prompt, length), np.int32), len(prompt)))
    return made


def with_one_wrong(example: Example, place: int) -> Example:
    tokens = example.tokens.copy()
    tokens[place] = (int(tokens[place]) + 1) % 250
    return dataclasses.replace(example, tokens=tokens)


def test_a_response_that_greedy_decoding_gives_is_a_hit_and_no_other(
    model: AdaptedModel, answered: list[Example]
) -> None:
    wrong = [with_one_wrong(example, len(example.tokens) - 1) for example in answered]
    wrong += [with_one_wrong(example, example.prompt_length) for example in answered]
    population = Population.of([*answered, *wrong])
    found = ExactMatchMetric().measure(model, population, RECIPE)
    assert found.by_unit.tolist() == [1.0] * len(answered) + [0.0] * len(wrong)
    assert found.mean == pytest.approx(1 / 3)
    assert found.terms == 3 * len(answered)


def test_tokens_are_counted_one_by_one(model: AdaptedModel, answered: list[Example]) -> None:
    lengths = [example.response_length for example in answered]
    wrong = [with_one_wrong(example, len(example.tokens) - 1) for example in answered]  # nothing follows it
    found = TokenAccuracyMetric().measure(model, Population.of(wrong), RECIPE)
    assert found.by_unit == pytest.approx([(length - 1) / length for length in lengths])
    assert found.mean == pytest.approx((sum(lengths) - len(lengths)) / sum(lengths))


def test_a_record_is_the_same_whatever_else_is_measured(model: AdaptedModel, answered: list[Example]) -> None:
    wrong = with_one_wrong(answered[3], answered[3].prompt_length)
    alone = TokenAccuracyMetric().measure(model, Population.of([wrong]), RECIPE).by_unit[0]
    among = TokenAccuracyMetric().measure(model, Population.of([*answered, wrong]), RECIPE).by_unit[-1]
    assert alone == among < 1


@pytest.mark.parametrize("metric", [ExactMatchMetric(), TokenAccuracyMetric()])
def test_what_cannot_be_shown_or_asks_nothing_is_no_hit(model: AdaptedModel, metric) -> None:
    nothing = [Example.placeholder("template"), Example(np.array([5, 6], np.int32), 2)]
    found = metric.measure(model, Population.of(nothing), RECIPE)
    assert found.by_unit.tolist() == [0.0, 0.0]
    assert np.isnan(found.mean)


@pytest.mark.parametrize("metric", [ExactMatchMetric(), TokenAccuracyMetric()])
def test_a_unit_moves_the_sum_by_one_at_the_most(metric) -> None:
    public = metric.public_range(RECIPE)
    assert (public.low, public.high, public.worst) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("name", "metric"), [("exact_match", ExactMatchMetric), ("token_accuracy", TokenAccuracyMetric)]
)
def test_a_recipe_names_it(name: str, metric: type) -> None:
    assert isinstance(federation_metric(parse_recipe(MINIMAL, overrides=[f"evaluation.metric={name}"])), metric)
