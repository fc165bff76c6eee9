"""Who spoils sums is narrowed down by sealing in groups, and the round is not lost for it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.errors import FederationError
from sealora_common.records.event_log import read_events
from sealora_common.records.events import RoundAborted, RoundFinished, SumSpoilt
from sealora_common.secagg import RingVector
from sealora_server.run.rounds import run_rounds
from sealora_server.run.store import RunStore
from sealora_server.run.suspects import OpenedGroup, Suspects

from pure_sites import PureGrid, PureSite, pure_federation, pure_recipe

NAMES = tuple(f"site-{index:02d}" for index in range(12))
LOCAL = {"mechanism": "local", "epsilon": 8.0, "delta": 1e-5}


def deal(names, groups, generator):
    shuffled = generator.sample(names, len(names))
    return [tuple(sorted(shuffled[first::groups])) for first in range(groups)]


@given(st.integers(0, 2**32), st.sampled_from(NAMES), st.integers(2, 4))
def test_one_who_spoils_every_sum_is_soon_the_only_one_left(seed, liar, groups):
    generator, suspects = random.Random(seed), Suspects()
    suspects.learn([OpenedGroup(NAMES, adds_up=False)])
    assert suspects.names == NAMES
    sizes = []
    for _ in range(40):
        suspects.learn([OpenedGroup(group, liar not in group) for group in deal(NAMES, groups, generator)])
        assert liar in suspects.names
        sizes.append(len(suspects.names))
    assert sizes == sorted(sizes, reverse=True)
    assert suspects.names == (liar,)


@given(st.integers(0, 2**32), st.sets(st.sampled_from(NAMES), min_size=1, max_size=3))
def test_no_liar_is_ever_cleared_while_it_lies(seed, liars):
    generator, suspects = random.Random(seed), Suspects()
    for _ in range(10):
        groups = deal(NAMES, 4, generator)
        suspects.learn([OpenedGroup(group, not liars & set(group)) for group in groups])
        for group in groups:
            if liars & set(group):
                assert set(suspects.names) & set(group)


def test_who_stops_is_cleared():
    suspects = Suspects()
    suspects.learn([OpenedGroup(NAMES, adds_up=False)])
    suspects.learn([OpenedGroup(NAMES, adds_up=True)])
    assert suspects.names == ()


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"privacy": LOCAL}, 4),
        ({"privacy": LOCAL, "sealing": {"min_survivors": 6}, "sites": {"minimum": 6}}, 2),
        ({"privacy": LOCAL, "sealing": {"min_survivors": 7}, "sites": {"minimum": 7}}, 1),
        ({"privacy": {"mechanism": "none"}}, 1),
        ({"privacy": LOCAL, "sealing": {"groups": 3}, "sites": {"minimum": 9}}, 3),
    ],
)
def test_there_are_groups_only_where_each_vector_carries_its_own_promise_and_the_floor_allows(sections, expected):
    recipe, suspects = pure_recipe(**sections), Suspects()
    assert suspects.groups(recipe, 12) == recipe.sealing.groups
    suspects.learn([OpenedGroup(NAMES, adds_up=False)])
    assert suspects.groups(recipe, 12) == expected


class Spoiler(PureSite):
    """Sends a vector that counts twice."""

    def _begin(self, order):
        answer = super()._begin(order)
        words = tuple(word.copy() for word in self.vector.words)
        words[1][0] += np.uint32(1)
        self.vector = RingVector(self.vector.segments, words)
        return answer


def run(directory, count, **sections):
    recipe = pure_recipe(rounds=3, **sections)
    store = RunStore.create(directory / "run", recipe)
    roster, sites = pure_federation(recipe, count, server=store.server_identity())
    roster.save(store.directory / "roster.json")
    node = next(node for node, site in sites.items() if site.name == "site-4")
    honest = sites[node]
    sites[node] = Spoiler(honest.identity, honest.recipe, honest.roster, honest.layout, honest.deltas)
    try:
        run_rounds(PureGrid(sites), store, roster)
    finally:
        events = [entry.event for entry in read_events(store.events.path)]
    return events


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_a_spoilt_sum_costs_one_attempt_and_the_run_goes_on_without_the_spoilers_group(tmp_path):
    events = run(tmp_path, 12, privacy=LOCAL)
    assert [(event.round, event.attempt) for event in of(events, RoundAborted)] == [(1, 1)]
    finished = of(events, RoundFinished)
    assert [len(event.survivors) for event in finished] == [9, 9, 9]
    assert all("site-4" not in event.survivors for event in finished)
    told = [event.suspects for event in of(events, SumSpoilt)]
    assert len(told[0]) == 12
    assert len(told[1]) == 3
    assert all("site-4" in suspects for suspects in told)
    assert len(told[-1]) <= len(told[1])


def test_where_groups_are_not_allowed_a_spoilt_sum_is_tried_again_as_it_was(tmp_path):
    with pytest.raises(FederationError, match="a site's vector was damaged"):
        run(tmp_path, 12)
