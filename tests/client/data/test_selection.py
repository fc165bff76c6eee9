"""Which held-out records are evaluated: one unit more or less displaces at most one, wherever it stands."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data.record import Record
from sealora_client.data.selection import evaluated
from sealora_common.recipe import Recipe


def recipe(limit: int, *, by_person: bool, records_per_person: int = 2, name: str = "some") -> Recipe:
    return Recipe.model_validate(
        {
            "name": name,
            "rounds": 1,
            "model": {"base": "none"},
            "data": {"heldout_limit": limit, "person_field": "patient" if by_person else None},
            "privacy": {"records_per_person": records_per_person},
        }
    )


def records(of: Sequence[tuple[int, int]], *, by_person: bool) -> list[Record]:
    """From pairs (person, text); few texts, so that many records are equal."""
    return [Record(f"text {text}", "r", f"p{person}" if by_person else None) for person, text in of]


PAIRS = st.tuples(st.integers(0, 5), st.integers(0, 4))
LISTS = st.lists(PAIRS, max_size=20)
LIMITS = st.integers(1, 8)


@given(LISTS, PAIRS, LIMITS, st.integers(0, 20))
def test_a_record_more_adds_at_most_itself_and_displaces_at_most_one(pairs, more, limit, place):
    agreed = recipe(limit, by_person=False)
    fewer = records(pairs, by_person=False)
    grown = [*fewer[:place], *records([more], by_person=False), *fewer[place:]]
    before, after = Counter(evaluated(fewer, agreed)), Counter(evaluated(grown, agreed))
    added, displaced = after - before, before - after
    assert added.total() <= 1
    assert displaced.total() <= 1
    assert set(added) <= set(records([more], by_person=False))
    assert after.total() == min(limit, len(grown))


@given(LISTS, LIMITS, st.integers(1, 30), st.integers(1, 3))
def test_a_person_more_with_any_records_displaces_at_most_one_person_and_changes_no_other(
    pairs, limit, count, records_per_person
):
    agreed = recipe(limit, by_person=True, records_per_person=records_per_person)
    fewer = records(pairs, by_person=True)
    person = [Record(f"text {number % 7}", "r", "newcomer") for number in range(count)]
    chosen = {}
    for name, part in (("before", fewer), ("after", [*person, *fewer])):
        chosen[name] = {}
        for record in evaluated(part, agreed):
            chosen[name].setdefault(record.person, Counter())[record] += 1
    before, after = chosen["before"], chosen["after"]
    assert set(after) - set(before) <= {"newcomer"}
    assert len(set(before) - set(after)) <= 1
    assert all(after[name] == own for name, own in before.items() if name in after)
    assert len(after) == min(limit, len({record.person for record in fewer}) + 1)
    assert all(own.total() <= records_per_person for own in after.values())


@given(LISTS, PAIRS, LIMITS)
def test_a_record_more_of_a_person_changes_nothing_of_others(pairs, more, limit):
    agreed = recipe(limit, by_person=True)
    fewer = records([*pairs, (more[0], 9)], by_person=True)  # that person is there already
    grown = [*records([more], by_person=True), *fewer]
    own = f"p{more[0]}"
    before, after = (
        Counter(record for record in evaluated(part, agreed) if record.person != own) for part in (fewer, grown)
    )
    assert before == after


@given(LISTS, LIMITS, st.booleans(), st.randoms())
def test_the_order_of_the_file_is_irrelevant(pairs, limit, by_person, generator):
    agreed = recipe(limit, by_person=by_person)
    some = records(pairs, by_person=by_person)
    shuffled = generator.sample(some, len(some))
    assert Counter(evaluated(some, agreed)) == Counter(evaluated(shuffled, agreed))


def clipped_sum(chosen: Sequence[Record], losses: dict[str | None, float], clip: float = 8.0) -> float:
    """What a release adds up, units clipped to `clip`."""
    owners = {record.person or record.prompt for record in chosen}
    return sum(min(losses.get(owner, clip), clip) for owner in owners)


def test_a_person_with_many_records_no_longer_displaces_all_others():
    """Cutting records off after the first 16 moved the clipped sum from 128 to 0, where one person's 8 was paid for."""
    agreed = recipe(16, by_person=True, records_per_person=8)
    others = [Record(f"text {number}", "r", f"p{number}") for number in range(16)]
    hoarder = [Record(f"mine {number}", "r", "hoarder") for number in range(1000)]
    losses: dict[str | None, float] = {"hoarder": 0.0}
    before = clipped_sum(evaluated(others, agreed), losses)
    assert before == 128.0
    for grown in ([*hoarder, *others], [*others, *hoarder]):
        chosen = evaluated(grown, agreed)
        assert abs(clipped_sum(chosen, losses) - before) <= 8.0
        assert Counter(record.person for record in chosen)["hoarder"] in (0, 8)


def test_under_the_limit_all_are_taken_in_the_order_of_the_file():
    some = records([(number % 3, number) for number in range(6)], by_person=True)
    assert evaluated(some, recipe(3, by_person=True)) == some
    assert evaluated([], recipe(3, by_person=True)) == []


@pytest.mark.parametrize("by_person", [False, True])
def test_another_recipe_takes_the_same(by_person):
    """Two recipes can be compared on one file; one that evaluates more takes those, and more."""
    some = records([(number, number) for number in range(200)], by_person=by_person)
    taken = [
        set(evaluated(some, recipe(limit, by_person=by_person, name=name)))
        for limit, name in ((20, "one"), (20, "two"), (50, "three"))
    ]
    assert taken[0] == taken[1]
    assert taken[0] < taken[2]


@pytest.mark.parametrize("text", ["one", "two", "three", "four"])
def test_equal_records_are_taken_or_not_each_by_itself(text):
    """Were they taken together, one text that stands there often would fill the sample, or not be in it at all."""
    some = [Record(text, "r")] * 500 + [Record(f"text {number}", "r") for number in range(500)]
    assert 25 < Counter(evaluated(some, recipe(100, by_person=False)))[Record(text, "r")] < 75


@pytest.mark.parametrize("by_person", [False, True])
def test_every_unit_is_as_likely_to_be_taken(by_person):
    """By the mean place of those taken: a preference for the beginning or the end would show."""
    some = records([(number, number) for number in range(1000)], by_person=by_person)
    random.Random(0).shuffle(some)
    taken = evaluated(some, recipe(250, by_person=by_person))
    places = [some.index(record) for record in taken]
    assert len(set(places)) == 250
    assert abs(sum(places) / 250 - 499.5) < 4 * 1000 / (12 * 250) ** 0.5
