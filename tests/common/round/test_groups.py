from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.entropy import SeededEntropy
from sealora_common.errors import OrderRefusedError, PolicyError, RecipeError
from sealora_common.identity import Identity
from sealora_common.recipe import Recipe, parse_recipe
from sealora_common.roster import Roster
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.groups import (
    fewest_groups,
    group_of,
    groups_of,
    may_regroup,
    require_dealable,
    smallest_group,
)
from sealora_common.round.order import RoundOrder, layout_of, terms_of

from pure_sites import LAYOUT

KEYS = {name: Identity.create(name, SeededEntropy(name)).public_key for name in (f"site-{n:02d}" for n in range(60))}
COORDINATOR = Identity.create("coordinator", SeededEntropy("coordinator"))


def roster_of(count: int) -> Roster:
    return Roster.create("groups", dict(list(KEYS.items())[:count]), COORDINATOR)


def recipe_of(groups: int, floor: int = 3, **sealing) -> Recipe:
    recipe = parse_recipe("name: test\nrounds: 1\nmodel: {base: b}\nsites: {minimum: 1000}\n")
    changed = recipe.sealing.model_copy(update={"groups": groups, "min_survivors": floor, **sealing})
    return recipe.model_copy(update={"sealing": changed})


def order_of(recipe: Recipe, roster: Roster, nonce: str | None = None) -> RoundOrder:
    order = RoundOrder.issue(
        "train",
        run="ab" * 16,
        round_number=1,
        attempt=1,
        recipe=recipe,
        roster=roster,
        layout_digest="cd" * 32,
        adapter=np.zeros(3, dtype=np.float32),
    )
    return order if nonce is None else order.model_copy(update={"nonce": nonce})


@settings(max_examples=60)
@given(st.integers(3, 8), st.integers(2, 5), st.integers(0, 10), st.binary(min_size=16, max_size=16))
def test_everybody_is_in_one_group_and_sizes_are_as_equal_as_can_be(groups, floor, more, nonce):
    roster, recipe = roster_of(min(60, groups * floor + more)), recipe_of(groups, floor)
    dealt = groups_of(order_of(recipe, roster, nonce.hex()), roster)
    assert len(dealt) == groups
    assert sorted(name for group in dealt for name in group.names) == list(roster.names)
    sizes = [len(group) for group in dealt]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) == smallest_group(recipe, len(roster)) >= floor
    for group in dealt:
        assert list(group.names) == sorted(group.names)
        assert all(group.public_key(group.index(name)) == KEYS[name] for name in group.names)


def test_the_deal_is_the_documented_one():
    """By the definition and nothing else, so that another implementation deals alike."""
    roster, recipe, nonce = roster_of(10), recipe_of(3), "0123456789abcdef" * 2
    by_hash = sorted(
        roster.names,
        key=lambda name: hashlib.sha256(b"sealora groups v1\n" + bytes.fromhex(nonce) + name.encode()).hexdigest(),
    )
    dealt = groups_of(order_of(recipe, roster, nonce), roster)
    assert [group.names for group in dealt] == [tuple(sorted(by_hash[first::3])) for first in range(3)]


def test_every_attempt_deals_anew_and_any_two_sites_meet_as_often_as_chance_has_it():
    roster, recipe = roster_of(9), recipe_of(3)
    met = dict.fromkeys(combinations(roster.names, 2), 0)
    rounds = 2000
    for _ in range(rounds):
        for group in groups_of(order_of(recipe, roster), roster):
            for pair in combinations(group.names, 2):
                met[pair] += 1
    expected = rounds * 2 / 8  # of the eight others two are in one's group
    assert all(abs(count - expected) < 6 * (expected * 0.75) ** 0.5 for count in met.values())


def test_without_groups_all_are_one_and_the_roster_is_the_signed_one():
    roster, recipe = roster_of(4), recipe_of(1)
    assert groups_of(order_of(recipe, roster), roster) == (roster,)


def test_a_site_finds_its_group_by_itself_and_a_stranger_has_none():
    roster, recipe = roster_of(9), recipe_of(3)
    order = order_of(recipe, roster)
    for group in groups_of(order, roster):
        for name in group.names:
            assert group_of(order, roster, name).hash == group.hash
    with pytest.raises(PolicyError, match="not on the roster"):
        group_of(order, roster, "stranger")


def test_groups_have_terms_of_their_own_for_their_own_size():
    roster, recipe = roster_of(11), recipe_of(3)
    order = order_of(recipe, roster)
    digests = set()
    for group in (*groups_of(order, roster), roster):
        layout = layout_of(order, recipe, group, LAYOUT)
        terms = terms_of(order, recipe, group, layout)
        digests.add(terms.digest)
        assert (layout.parties, terms.roster_size) == (len(group), len(group))
        assert terms.threshold == 2 * len(group) // 3 + 1
        assert terms.min_survivors == 3
        assert isinstance(layout, ContributionLayout)
    assert len(digests) == 4


def test_a_roster_too_small_for_its_groups_is_refused():
    with pytest.raises(RecipeError, match=r"sealing.groups is 4, and of 11 sites some group would have 2, fewer than"):
        require_dealable(recipe_of(4), 11)
    with pytest.raises(OrderRefusedError, match="7 sites cannot be dealt into 4 groups"):
        groups_of(order_of(recipe_of(4), roster_of(7)), roster_of(7))
    require_dealable(recipe_of(4), 12)
    require_dealable(recipe_of(1), 2)


@pytest.mark.parametrize(
    ("own", "mechanism", "groups", "may"),
    [
        (1, "local", 4, True),
        (1, "local", 5, False),  # of two, and the floor is three
        (1, "local", 1, False),  # is no dealing
        (3, "local", 4, False),
        (1, "distributed", 4, False),
        (1, "none", 4, False),
    ],
)
def test_sites_that_a_recipe_seals_as_one_are_dealt_only_where_each_vector_carries_its_own_promise(
    own, mechanism, groups, may
):
    recipe = recipe_of(own)
    recipe = recipe.model_copy(update={"privacy": recipe.privacy.model_copy(update={"mechanism": mechanism})})
    assert may_regroup(recipe, 12, groups) is may


@pytest.mark.parametrize(
    ("groups", "sealing", "fewest"),
    [
        (1, {}, 1),
        (3, {}, 3),
        (9, {}, 3),
        (9, {"combine": "trimmed_mean", "trim": 1}, 3),
        (9, {"combine": "trimmed_mean", "trim": 3}, 7),
        (9, {"combine": "near_median", "trim": 1}, 3),
        (9, {"combine": "near_median", "trim": 3}, 7),
        (9, {"combine": "multi_krum", "trim": 3}, 9),
    ],
)
def test_so_many_groups_must_stand(groups, sealing, fewest):
    assert fewest_groups(recipe_of(groups, **sealing)) == fewest
