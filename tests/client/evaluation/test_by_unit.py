"""Values of examples, brought together by unit, for a metric that needs no model's answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sealora_client.data.population import Population
from sealora_client.evaluation.by_unit import values_by_unit

from single_examples import load, random_examples

ROWS = 4


@pytest.fixture(scope="module")
def model(tiny_base):
    return load(tiny_base())


def test_a_unit_s_value_is_the_mean_over_its_examples_of_sum_over_terms(model):
    examples = random_examples()
    population = Population((tuple(examples[:2]), (examples[2],), tuple(examples[3:])))
    seen = []

    def rows(own):
        assert not model.model.training
        assert not torch.is_grad_enabled()
        seen.extend(own)
        dummies = [1e9] * (ROWS - len(own))  # what is made of them is dropped
        sums = [float(example.prompt_length) for example in own] + dummies
        counts = [example.response_length for example in own] + [7] * len(dummies)
        return torch.tensor(sums), torch.tensor(counts)

    model.model.train()
    found = values_by_unit(model, population, ROWS, rows)
    assert model.model.training
    assert sorted(map(id, seen)) == sorted(map(id, examples))
    expected = [np.mean([e.prompt_length / e.response_length for e in unit]) for unit in population.units]
    assert found.by_unit == pytest.approx(expected, rel=1e-6)
    assert found.total == sum(example.prompt_length for example in examples)
    assert found.terms == sum(example.response_length for example in examples)


def test_an_example_without_a_term_counts_as_nothing(model):
    found = values_by_unit(
        model,
        Population((tuple(random_examples()[:1]),)),
        ROWS,
        lambda own: (torch.zeros(ROWS), torch.zeros(ROWS, dtype=torch.int64)),
    )
    assert (found.total, found.terms, found.by_unit.tolist()) == (0.0, 0, [0.0])


def test_nobody_has_no_value(model):
    found = values_by_unit(model, Population(()), ROWS, lambda own: pytest.fail("computed"))
    assert (found.total, found.terms, found.by_unit.shape) == (0.0, 0, (0,))
