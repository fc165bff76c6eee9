"""A lowered threshold: five sites, one of which colludes with the server, and two halves told two survivor sets.

With the threshold for a curious server, three of five, there are enough signatures for both sets (2t <= n + c), so
the server gets both kinds of share of its victim. The rule: a site works the threshold out from its own recipe and
roster; with four of five no two sets can both be confirmed.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations, product

import pytest

from sealora_common.errors import FederationError
from sealora_common.secagg import ProtocolError, RingVector, threshold_for
from sealora_common.secagg.bodies import Survivors
from sealora_common.secagg.messages import Kind, bundle

from secagg_attacker import Attacker, told_survivors
from secagg_runs import Federation, Run, clone_site, same

CORRUPTED = 4
VICTIM = 0
HONEST = (0, 1, 2, 3)


def two_halves(run: Run, views: dict[int, Collection[int]]) -> RingVector | None:
    """Shows each honest site the survivors of its view, and takes what shares it gets."""
    attacker = Attacker.watching(run, {CORRUPTED})
    sites = {index: clone_site(run.sites[index]) for index in HONEST}
    masked = run.answers["mask"]
    transcript = run.sites[VICTIM]._state.transcript.digest
    confirmations: dict[tuple[int, ...], list[bytes]] = {}
    for index, site in list(sites.items()):
        view = tuple(sorted(views[index]))
        by_corrupted = attacker.signs(CORRUPTED, Kind.CONFIRM, Survivors(transcript, view).to_bytes())
        confirmed = confirmations.setdefault(view, [by_corrupted] if CORRUPTED in view else [])
        try:
            confirmed.append(told_survivors(site, masked, view))
        except FederationError:
            del sites[index]
    for index, site in sites.items():
        try:
            attacker.hears_opening(site.open(bundle(confirmations[tuple(sorted(views[index]))])))
        except FederationError:
            continue
    return attacker.reads({VICTIM: masked[VICTIM]}, {VICTIM: {1, 2, 3, 4}})


def test_two_halves_are_read_under_the_lowered_threshold() -> None:
    run = Run(Federation.of(5, "curious")).until("confirm")
    assert run.federation.terms.threshold == 3
    read = two_halves(run, {0: {0, 1, 4}, 1: {0, 1, 4}, 2: {2, 3, 4}, 3: {2, 3, 4}})
    assert read is not None
    assert same(read, run.vector(VICTIM))


@pytest.mark.slow
def test_no_two_views_are_read_under_the_threshold_for_a_malicious_server() -> None:
    run = Run(Federation.of(5, "malicious")).until("confirm")
    sets = [set(chosen) for count in (3, 4, 5) for chosen in combinations(range(5), count)]
    for with_victim, without in product(sets, sets):
        if VICTIM not in with_victim or VICTIM in without:
            continue
        for told_first in product((True, False), repeat=3):
            first = dict(zip((1, 2, 3), told_first, strict=True))
            views = {index: with_victim if first[index] else without for index in (1, 2, 3)} | {VICTIM: with_victim}
            assert two_halves(run, views) is None


def test_a_site_refuses_the_messages_of_a_round_with_a_lower_threshold() -> None:
    lowered, real = Federation.of(5, "curious"), Federation.of(5, "malicious")
    advertisements = [lowered.begin(index)[1] for index in range(1, 5)]
    site, own = real.begin(0)
    with pytest.raises(ProtocolError, match="not of this round"):
        site.share(bundle([own, *advertisements]))


@pytest.mark.parametrize("size", range(2, 60))
def test_thresholds_leave_no_room_for_two_sets(size: int) -> None:
    corrupted = (size - 1) // 3  # fewer than a third
    assert 2 * threshold_for(size, "malicious") > size + corrupted
    assert 2 * threshold_for(size, "curious") > size
    # They are the least that do.
    assert 3 * (threshold_for(size, "malicious") - 1) <= 2 * size
    assert 2 * (threshold_for(size, "curious") - 1) <= size


@pytest.mark.parametrize("threshold", [0, 1, 2, 6])
def test_terms_with_a_threshold_of_half_or_less_do_not_exist(threshold: int) -> None:
    with pytest.raises(ValueError, match="above half"):
        Federation.of(5, threshold=threshold)
