"""Taking the masks off: false shares and seeds are found by what their owners committed to, others stand in for them,
and who sent them is named; what cannot be put right voids the round and opens nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from sealora_common.secagg import FaultKind, ProtocolError, TooFewSitesError

from secagg_misbehaviour import (
    Culprits,
    Trick,
    complains_of,
    made_up,
    opens_another_seed,
    opens_false_shares_of,
    shares_with,
    unusable_for,
)
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(5, "curious")
"""Any three of five restore a secret."""


def named(run: Run) -> list[tuple[int, FaultKind]]:
    """Who was found to have done what; every fault is proved to anybody with the roster."""
    for fault in run.server.faults:
        fault.prove(run.federation.roster)
    return [(fault.site, fault.kind) for fault in run.server.faults]


def opens_exactly(run: Run, survivors: tuple[int, ...], drops: Mapping[int, str] | None = None) -> None:
    opened = run.finish(drops)
    assert opened.survivors == survivors
    assert same(opened.vector, run.expected(survivors))


def is_void(run: Run, error: type[Exception], match: str, drops: Mapping[int, str] | None = None) -> None:
    """Nothing is opened, and the session is over: the sum stays masked."""
    with pytest.raises(error, match=match):
        run.finish(drops)
    survivors = run.server.survivors
    assert not any(
        np.array_equal(mine, theirs)
        for mine, theirs in zip(run.server._sum.words, run.expected(survivors).words, strict=True)
    )
    with pytest.raises(ProtocolError, match="cannot be closed"):
        run.server.open()


def culprits(federation: Federation = FEDERATION, **tricks: tuple[int, Trick]) -> Run:
    return Culprits({(stage, index): trick for stage, (index, trick) in tricks.items()}).join(Run(federation))


# --- false shares


def test_a_spare_share_stands_in_for_a_false_one() -> None:
    run = culprits(open=(0, opens_false_shares_of(4)))
    opens_exactly(run, (0, 1, 2, 3), {4: "mask"})
    assert named(run) == [(0, FaultKind.SHARE)]


def test_with_no_share_to_spare_nothing_is_opened() -> None:
    run = culprits(open=(0, opens_false_shares_of(4)))
    is_void(run, TooFewSitesError, "only 2 holders of site 'site-0004' sent true shares", {4: "mask", 3: "open"})
    assert named(run) == [(0, FaultKind.SHARE)]


def test_all_who_send_false_shares_are_named() -> None:
    tricks = {("open", index): opens_false_shares_of(4) for index in (0, 2)}
    run = Culprits(tricks).join(Run(FEDERATION))
    is_void(run, TooFewSitesError, "only 2 holders of site 'site-0004' sent true shares", {4: "mask"})
    assert named(run) == [(0, FaultKind.SHARE), (2, FaultKind.SHARE)]


def test_who_sends_several_false_shares_is_named_once() -> None:
    run = culprits(Federation.of(7, "curious"), open=(0, opens_false_shares_of(5, 6)))
    opens_exactly(run, (0, 1, 2, 3, 4), {5: "mask", 6: "mask"})
    assert named(run) == [(0, FaultKind.SHARE)]


def test_false_shares_that_nobody_needs_do_no_harm() -> None:
    """A survivor that opens its own seed needs no shares of it."""
    run = culprits(open=(0, opens_false_shares_of(1, 2, 3, 4)))
    opens_exactly(run, (0, 1, 2, 3, 4))
    assert named(run) == []


# --- seeds of self-masks


def test_a_false_seed_is_restored_from_its_shares() -> None:
    run = culprits(open=(0, opens_another_seed()))
    opens_exactly(run, (0, 1, 2, 3, 4))
    assert named(run) == [(0, FaultKind.SEED)]


@pytest.mark.parametrize("gone", [(4,), (0, 1), (1, 3)])
def test_the_seed_of_a_survivor_that_is_gone_by_now_is_restored_from_its_shares(gone: tuple[int, ...]) -> None:
    run = Run(FEDERATION)
    opens_exactly(run, (0, 1, 2, 3, 4), dict.fromkeys(gone, "open"))
    assert named(run) == []


def test_a_false_share_of_a_survivor_that_is_gone_is_found_too() -> None:
    run = culprits(open=(0, opens_false_shares_of(4)))
    opens_exactly(run, (0, 1, 2, 3, 4), {4: "open"})
    assert named(run) == [(0, FaultKind.SHARE)]


def test_true_shares_of_another_seed_void_the_round_where_they_are_needed() -> None:
    others = dict.fromkeys((0, 1, 2, 3), lambda given: replace(made_up(), contribution=given.contribution))
    run = culprits(share=(4, shares_with(committed=others)))
    is_void(run, ProtocolError, "'site-0004' handed out do not restore its secret", {4: "open"})
    assert named(run) == [(4, FaultKind.SECRET)]


def test_true_shares_of_another_seed_do_no_harm_where_the_seed_is_opened() -> None:
    others = dict.fromkeys((0, 1, 2, 3), lambda given: replace(given, self_mask=made_up().self_mask))
    run = culprits(share=(4, shares_with(committed=others)))
    opens_exactly(run, (0, 1, 2, 3, 4))
    assert named(run) == []


def test_a_commitment_to_another_seed_is_found_by_seed_and_shares() -> None:
    run = culprits(share=(4, shares_with(seed=bytes(32))))
    is_void(run, ProtocolError, "'site-0004' handed out do not restore its secret")
    assert named(run) == [(4, FaultKind.SEED), (4, FaultKind.SECRET)]


# --- secrets of sites that dropped out


def test_true_shares_of_another_mask_seed_void_the_round() -> None:
    others = dict.fromkeys((0, 1, 2, 3), lambda given: replace(given, mask_seed=made_up().mask_seed))
    run = culprits(share=(4, shares_with(committed=others)))
    is_void(run, ProtocolError, "'site-0004' handed out do not restore its secret", {4: "mask"})
    assert named(run) == [(4, FaultKind.SECRET)]


def test_one_false_share_is_not_taken_for_a_fault_of_its_owner() -> None:
    """The owner's shares restore its secret; only the one that a holder made up does not fit."""
    run = culprits(Federation.of(7, "curious"), open=(1, opens_false_shares_of(5, 6)))
    opens_exactly(run, (0, 1, 2, 3, 4, 5), {6: "mask", 5: "open"})
    assert named(run) == [(1, FaultKind.SHARE)]


# --- contributions to masks


def without_contribution() -> Trick:
    return shares_with(sealed={4: lambda given: replace(given, contribution=made_up().contribution)})


def test_a_contribution_that_does_not_open_voids_the_round_and_names_its_site() -> None:
    """Two sites at once: one seals rubbish, the other says nothing of it and drops out."""
    run = culprits(share=(0, without_contribution()), check=(4, complains_of()))
    is_void(run, ProtocolError, "contribution of site 'site-0000' to a mask does not open", {4: "mask"})
    assert named(run) == [(0, FaultKind.CONTRIBUTION)]


def test_a_contribution_that_was_disclosed_is_used_where_the_complainer_drops_out() -> None:
    run = culprits(share=(0, without_contribution()))
    opens_exactly(run, (0, 1, 2, 3), {4: "mask"})
    assert run.requests["disclose"].keys() == {0}
    assert named(run) == []


@pytest.mark.parametrize("drops", [{}, {0: "mask"}, {0: "open"}, {3: "confirm"}], ids=str)
def test_a_site_that_discloses_what_it_committed_to_goes_on(drops: dict[int, str]) -> None:
    run = culprits(share=(0, unusable_for(4)))
    survivors = tuple(index for index in range(5) if drops.get(index) != "mask")
    opens_exactly(run, survivors, drops)
    assert run.requests["disclose"].keys() == {0}
    assert named(run) == []


@pytest.mark.slow
def test_in_a_sparse_graph_only_drawn_neighbours_contribute() -> None:
    federation = Federation.of(34)
    run = Run(federation)
    opens_exactly(run, tuple(index for index in range(34) if index not in (5, 20)), {5: "mask", 20: "mask", 7: "open"})
    assert named(run) == []
