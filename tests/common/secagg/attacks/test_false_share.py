"""False shares: a turned holder opens another share than it was given.

The secret restored with it would be another, the round would be lost, and its owner would seem to be at fault. The
rule: each share is held against what its owner committed to; a true one of another holder takes its place, and who
opened the false one is named, with evidence.
"""

from __future__ import annotations

import os

import pytest

from sealora_common.secagg import Fault, FaultKind, OpenedSum, ProtocolError, TooFewSitesError
from sealora_common.secagg.bodies import Opening
from sealora_common.secagg.messages import Kind
from sealora_common.secagg.unmasking import Unmasking
from secagg_weakened import weaken

from secagg_attacker import Attacker, body_of
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(7)
OWNER, TURNED, OTHER = 0, 1, 2
NO_RULE = (
    " and share_fits(self.statements[owner], owner, holder, kind, share, self.terms.digest)",
    "",
)


def false_opening(run: Run, holder: int, owner: int) -> bytes:
    """A site's opening in which the share of one owner is made up."""
    opening = Opening.from_bytes(body_of(run.answers["open"][holder], Kind.OPEN, FEDERATION))
    kind, _ = opening.shares[owner]
    shares = opening.shares | {owner: (kind, os.urandom(32))}
    body = Opening(opening.transcript, opening.self_mask, shares).to_bytes()
    return Attacker(FEDERATION).signs(holder, Kind.OPEN, body)


def open_falsely(holders: tuple[int, ...], *, gone: str) -> tuple[Run, OpenedSum]:
    """The owner drops out at a stage, and these holders open false shares of its secret."""
    drops = {OWNER: gone}
    run = Run(FEDERATION).until("open", drops)
    asked = {index: each for index, each in run.close("open").items() if index != OWNER}
    run.answers["open"] = {index: run.answer("open", index, request) for index, request in asked.items()}
    for index, message in run.answers["open"].items():
        run.deliver("open", false_opening(run, index, OWNER) if index in holders else message)
    return run, run.server.open()


@pytest.mark.parametrize("gone", ["mask", "confirm", "open"])
def test_the_round_is_lost_where_shares_are_not_compared(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, Unmasking, "_true_share", NO_RULE)
    with pytest.raises(ProtocolError, match="do not restore its secret"):
        open_falsely((TURNED,), gone=gone)


def test_its_owner_is_not_shown_to_be_at_fault_even_there(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(FEDERATION).until("open", {OWNER: "mask"})
    run.answers["open"] = {index: run.answer("open", index, request) for index, request in run.close("open").items()}
    for index, message in run.answers["open"].items():
        run.deliver("open", false_opening(run, index, OWNER) if index == TURNED else message)
    weaken(monkeypatch, Unmasking, "_true_share", NO_RULE)
    with pytest.raises(ProtocolError):
        run.server.open()
    (fault,) = run.server.faults
    assert fault.site == OWNER
    with pytest.raises(ProtocolError, match="does not show the fault"):
        fault.prove(FEDERATION.roster)


@pytest.mark.parametrize("gone", ["mask", "confirm", "open"])
def test_a_true_share_takes_its_place_and_the_liar_is_named(gone: str) -> None:
    run, opened = open_falsely((TURNED,), gone=gone)
    assert opened.survivors == tuple(index for index in range(7) if gone != "mask" or index != OWNER)
    assert same(opened.vector, run.expected(opened.survivors))
    (fault,) = run.server.faults
    assert (fault.site, fault.kind) == (TURNED, FaultKind.SHARE)
    fault.prove(FEDERATION.roster)
    assert Fault.from_bytes(fault.to_bytes()) == fault


def test_too_few_true_shares_name_their_liars_and_open_nothing() -> None:
    """More than can be corrupted."""
    run = Run(FEDERATION).until("open", {OWNER: "mask"})
    run.answers["open"] = {index: run.answer("open", index, request) for index, request in run.close("open").items()}
    for index, message in run.answers["open"].items():
        run.deliver("open", false_opening(run, index, OWNER) if index in (TURNED, OTHER) else message)
    with pytest.raises(TooFewSitesError, match="only 4 holders of site 'site-0000' sent true shares"):
        run.server.open()
    assert {(fault.site, fault.kind) for fault in run.server.faults} == {
        (TURNED, FaultKind.SHARE),
        (OTHER, FaultKind.SHARE),
    }
    for fault in run.server.faults:
        fault.prove(FEDERATION.roster)


def test_a_liar_is_named_once_for_many_false_shares() -> None:
    run = Run(FEDERATION).until("open", {OWNER: "open", OTHER: "open"})
    asked = {index: each for index, each in run.close("open").items() if index not in (OWNER, OTHER)}
    run.answers["open"] = {index: run.answer("open", index, request) for index, request in asked.items()}
    opening = Opening.from_bytes(body_of(run.answers["open"][TURNED], Kind.OPEN, FEDERATION))
    false = {owner: (kind, bytes(32)) for owner, (kind, _) in opening.shares.items()}
    body = Opening(opening.transcript, opening.self_mask, false).to_bytes()
    for index, message in run.answers["open"].items():
        run.deliver("open", Attacker(FEDERATION).signs(TURNED, Kind.OPEN, body) if index == TURNED else message)
    with pytest.raises(TooFewSitesError):
        run.server.open()
    assert [(fault.site, fault.kind) for fault in run.server.faults] == [(TURNED, FaultKind.SHARE)]
