"""Padded survivors: a corrupted site that shared nothing is counted among the survivors, so that fewer will do.

Seven sites, threshold five. Sites 5 and 6 collude with the server; 6 does not share, 4 and 5 drop out before they
mask. Four vectors are left; with a statement of 6, which has no part in the sum, there are five survivors on paper.
The rule: survivors are sites that shared, and only survivors confirm.
"""

from __future__ import annotations

import os

import pytest

from sealora_common.secagg import ProtocolError, RingVector, SiteSession
from sealora_common.secagg.bodies import MaskStatement, Survivors
from sealora_common.secagg.messages import Kind, bundle
from secagg_weakened import weakened

from secagg_attacker import Attacker, statement_of
from secagg_runs import Federation, Run, same, sum_of

FEDERATION = Federation.of(7, min_survivors=5)
HONEST, DROPPED, COLLUDING, GHOST = (0, 1, 2, 3), (4, 5), 5, 6


def pad(site_class: type[SiteSession]) -> tuple[Run, RingVector | None]:
    run = Run(FEDERATION, site_class=site_class).until("mask", {GHOST: "share"})
    attacker = Attacker.watching(run)
    requests = run.close("mask")
    masked = {index: run.answer("mask", index, requests[index]) for index in (*HONEST, COLLUDING)}
    attacker.corrupts(run.sites[COLLUDING])

    transcript = run.sites[0]._state.transcript.digest
    ghost = attacker.signs(GHOST, Kind.MASK, MaskStatement(transcript, os.urandom(32)).to_bytes())
    told = Survivors(transcript, (*HONEST, GHOST))
    statements = bundle([*(statement_of(masked[index]) for index in HONEST), ghost])
    confirmations = [run.sites[index].confirm(statements) for index in HONEST]
    confirmations.append(attacker.signs(GHOST, Kind.CONFIRM, told.to_bytes()))
    for index in HONEST:
        attacker.hears_opening(run.sites[index].open(bundle(confirmations)))
    kept = {index: masked[index] for index in HONEST}
    return run, attacker.reads(kept, {index: set(range(6)) - {index} for index in HONEST})


def test_a_sum_below_the_floor_is_read_where_survivors_need_not_have_shared() -> None:
    careless = weakened(
        SiteSession,
        confirm=("if sender in survivors or sender not in state.transcript.checked:", "if sender in survivors:"),
    )
    run, read = pad(careless)
    assert read is not None
    assert same(read, sum_of([run.vector(index) for index in HONEST]))


def test_a_survivor_that_did_not_share_is_refused() -> None:
    with pytest.raises(ProtocolError, match="took no part"):
        pad(SiteSession)


def test_a_confirmation_of_a_site_that_did_not_survive_is_refused() -> None:
    run = Run(FEDERATION).until("open", {COLLUDING: "mask"})
    confirmations = list(run.answers["confirm"].values())
    told = Survivors(run.sites[0]._state.transcript.digest, run.server.survivors)
    by_dropout = Attacker(FEDERATION).signs(COLLUDING, Kind.CONFIRM, told.to_bytes())
    with pytest.raises(ProtocolError, match="two different sets of survivors"):
        run.sites[0].open(bundle([*confirmations[:4], by_dropout]))
