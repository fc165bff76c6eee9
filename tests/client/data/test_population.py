"""Units of privacy: whose the examples are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data.example import Example
from sealora_client.data.population import Population


def examples(count: int) -> list[Example]:
    return [Example(np.array([3, 4, 5 + number], dtype=np.int32), 1) for number in range(count)]


def test_without_persons_each_example_is_a_unit():
    given_examples = examples(3)
    population = Population.of(given_examples)
    assert population.units == tuple((example,) for example in given_examples)
    assert (len(population), population.examples) == (3, 3)


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=30))
def test_each_person_is_one_unit_with_all_of_their_examples_and_no_other(persons):
    given_examples = examples(len(persons))
    population = Population.of(given_examples, persons)
    assert len(population) == len(set(persons))
    assert population.examples == len(persons)
    assert all(unit for unit in population.units)
    found = {tuple(example.tokens[2] - 5 for example in unit) for unit in population.units}
    expected = {tuple(i for i, owner in enumerate(persons) if owner == person) for person in set(persons)}
    assert found == expected


def test_examples_and_persons_must_be_as_many():
    with pytest.raises(ValueError, match="zip"):
        Population.of(examples(3), ["a", "b"])


def test_equal_records_are_units_of_their_own():
    example = examples(1)[0]
    assert len(Population.of([example, example])) == 2


def test_an_empty_population_has_no_units():
    assert len(Population.of([])) == Population.of([], []).examples == 0
