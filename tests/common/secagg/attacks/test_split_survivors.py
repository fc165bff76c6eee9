"""Two survivor sets: the server tells every site a set of its own, so that each drops the peers the server wants.

Seven sites, two of them corrupted, threshold five. Each honest site is told five survivors; between them they would
release the mask keys of three honest sites and the self-masks of the other two, whose sum the server then reads: a
sum of two instead of five. The rule: a site opens only for a set that threshold-many sites signed, its own.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector, SiteSession, TooFewSitesError
from sealora_common.secagg.bodies import Survivors
from sealora_common.secagg.messages import Kind, bundle
from secagg_weakened import weakened

from secagg_attacker import Attacker, told_survivors
from secagg_runs import Federation, Run, same, sum_of

FEDERATION = Federation.of(7, min_survivors=3)
CORRUPTED = (5, 6)
TARGETS = (0, 1)
DROPS = {0: {2, 3}, 1: {3, 4}, 2: {3, 4}, 3: {2, 4}, 4: {2, 3}}
"""Whom each honest site is told to have dropped out: each of 2, 3, 4 by three sites or more."""


def tell_each_its_own(site_class: type[SiteSession], *, confirmed: bool) -> tuple[Run, RingVector | None]:
    run = Run(FEDERATION, site_class=site_class).until("confirm")
    attacker = Attacker.watching(run, CORRUPTED)
    transcript = run.sites[0]._state.transcript.digest
    confirmations = {}
    for index, dropped in DROPS.items():
        told = tuple(sorted(set(range(7)) - dropped))
        confirmations[index] = told_survivors(run.sites[index], run.answers["mask"], told)
        for corrupted in CORRUPTED:
            body = Survivors(transcript, told).to_bytes()
            confirmations[corrupted] = attacker.signs(corrupted, Kind.CONFIRM, body)
    for index, dropped in DROPS.items():
        shown = [message for sender, message in confirmations.items() if sender not in dropped] if confirmed else []
        attacker.hears_opening(run.sites[index].open(bundle(shown)))
    masked = {index: run.answers["mask"][index] for index in TARGETS}
    return run, attacker.reads(masked, {index: set(range(7)) - {index} for index in TARGETS})


def assert_read(run: Run, read: RingVector | None) -> None:
    assert read is not None
    assert same(read, sum_of([run.vector(index) for index in TARGETS]))


def test_a_sum_of_two_is_read_where_confirmations_are_not_compared() -> None:
    careless = weakened(SiteSession, open=("or Survivors.from_bytes(body) != expected", ""))
    assert_read(*tell_each_its_own(careless, confirmed=True))


def test_different_survivor_sets_are_refused() -> None:
    with pytest.raises(ProtocolError, match="two different sets of survivors"):
        tell_each_its_own(SiteSession, confirmed=True)


def test_a_sum_of_two_is_read_where_sites_open_unconfirmed() -> None:
    careless = weakened(SiteSession, open=('self._review.require(len(agreed), "confirmed the survivors")', ""))
    assert_read(*tell_each_its_own(careless, confirmed=False))


def test_unconfirmed_survivors_are_refused() -> None:
    with pytest.raises(TooFewSitesError, match="confirmed the survivors"):
        tell_each_its_own(SiteSession, confirmed=False)


def test_a_confirmation_counts_once() -> None:
    run = Run(FEDERATION).until("open")
    confirmations = list(run.answers["confirm"].values())
    with pytest.raises(TooFewSitesError, match="only 4 of 7"):
        run.sites[0].open(bundle([*confirmations[:4], *confirmations[:3]]))
