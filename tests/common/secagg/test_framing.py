"""Nobody is framed: what an honest site signed shows no fault of it, whatever others put beside it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from sealora_common.secagg import Fault, FaultKind, ProtocolError
from sealora_common.secagg.bodies import Given, Opening, ShareKind, ShareStatement
from sealora_common.secagg.messages import Kind, content_digest, sign
from sealora_common.secagg.terms import most_corrupted
from sealora_common.secagg.transcript import Shared

from secagg_misbehaviour import Culprits, body_of, complains_of, made_up, signed
from secagg_runs import Federation, Run, identity

FEDERATION = Federation.of(5, "curious")
ROSTER = FEDERATION.roster


@cache
def honest() -> Run:
    """A round in which site 4 drops out before it masks, and all others do as they should."""
    run = Run(FEDERATION).until("open", {4: "mask"})
    KEPT.update(run.sites[0]._state.held)
    run.step("open")
    run.server.open()
    assert run.server.faults == []
    return run


KEPT: dict[int, Given] = {}
"""What site 0 was given in that round, by owner; it forgets it at the end."""


def evidence(
    site: int, kind: FaultKind, *messages: bytes, extra: tuple[bytes, ...] = (), run: Run | None = None
) -> Fault:
    return Fault(site, kind, FEDERATION.terms, (run or honest()).server._transcript, messages, extra)


def statement(site: int, run: Run | None = None) -> bytes:
    return (run or honest()).server._shared[site].signed


def opening(site: int) -> bytes:
    return honest().answers["open"][site]


def refused(fault: Fault) -> None:
    with pytest.raises(ProtocolError):
        fault.prove(ROSTER)


def does_not_show(fault: Fault, why: str = "does not show the fault") -> None:
    with pytest.raises(ProtocolError, match=why):
        fault.prove(ROSTER)


@pytest.mark.parametrize("site", range(4))
def test_an_honest_opening_is_no_evidence(site: int) -> None:
    for owner in set(range(5)) - {site}:
        does_not_show(evidence(site, FaultKind.SHARE, statement(owner), opening(site)))
    does_not_show(evidence(site, FaultKind.SEED, statement(site), opening(site)))
    does_not_show(evidence(site, FaultKind.SHARE, statement(site), opening(site)), "lacks what it must show")


@pytest.mark.parametrize("site", range(5))
def test_an_honest_sites_shares_are_no_evidence(site: int) -> None:
    advertisement = (honest().server._advertised[site][0].to_bytes(),)
    holders = [opening(holder) for holder in range(4) if holder != site]
    for count in range(len(holders) + 1):
        does_not_show(evidence(site, FaultKind.SECRET, statement(site), *holders[:count], extra=advertisement))
    does_not_show(evidence(site, FaultKind.SECRET, statement(site), *holders[:1] * 3, extra=advertisement))
    does_not_show(evidence(site, FaultKind.SECRET, statement(site), *holders), "lacks what it must show")


def opened_by(holder: int, owner: int, kind: ShareKind, share: bytes) -> bytes:
    """What a corrupted holder says that it opens of an honest owner, signed by itself."""
    said = Opening.from_bytes(body_of(FEDERATION, opening(holder), Kind.OPEN))
    body = replace(said, shares=said.shares | {owner: (kind, share)}).to_bytes()
    return signed(FEDERATION, holder, Kind.OPEN, body)


@pytest.mark.parametrize(("owner", "kind"), [(4, ShareKind.MASK_SEED), (3, ShareKind.SELF_MASK)])
def test_a_false_share_among_the_openings_is_no_evidence_of_the_owner(owner: int, kind: ShareKind) -> None:
    """A corrupted holder makes one up, so that what all of them restore is not the owner's secret."""
    run = honest()
    advertisement = (run.server._advertised[owner][0].to_bytes(),)
    openings = [opened_by(0, owner, kind, bytes(32)), opening(1), opening(2)]
    does_not_show(evidence(owner, FaultKind.SECRET, statement(owner), *openings, extra=advertisement))


@pytest.mark.parametrize("owner", [3, 4])
def test_true_shares_of_two_secrets_are_no_evidence_of_the_owner(owner: int) -> None:
    """A corrupted holder opens the other of its two shares, so that the shares do not belong together."""
    run = honest()
    given = KEPT[owner]
    other = (ShareKind.SELF_MASK, given.self_mask) if owner == 4 else (ShareKind.MASK_SEED, given.mask_seed)
    advertisement = (run.server._advertised[owner][0].to_bytes(),)
    openings = [opened_by(0, owner, *other), opening(1), opening(2)]
    does_not_show(evidence(owner, FaultKind.SECRET, statement(owner), *openings, extra=advertisement))


@pytest.mark.parametrize("site", range(4))
def test_an_honest_contribution_is_no_evidence(site: int) -> None:
    """The server has restored the mask seed of site 4, which dropped out."""
    run = honest()
    seed = run.sites[4]._state.mask_seed
    content = run.server._shared[site].envelopes[4].to_bytes()
    keys_of_4 = run.server._advertised[4][0].to_bytes()
    does_not_show(evidence(site, FaultKind.CONTRIBUTION, statement(site), extra=(content, keys_of_4, seed)))
    does_not_show(evidence(site, FaultKind.CONTRIBUTION, statement(site), extra=(content, keys_of_4, bytes(32))))
    altered = content[:1300] + bytes([content[1300] ^ 1]) + content[1301:]
    does_not_show(evidence(site, FaultKind.CONTRIBUTION, statement(site), extra=(altered, keys_of_4, seed)))


def test_a_seed_that_belongs_to_other_keys_is_no_evidence() -> None:
    """A site's contributions do not open with a seed that the accuser made up, whatever keys come of that."""
    run, foreign = honest(), Run(FEDERATION)
    foreign.finish({4: "mask"})
    content = run.server._shared[0].envelopes[3].to_bytes()
    seed = foreign.sites[4]._state.mask_seed
    for keys_of in (run.server._advertised[3][0], run.server._advertised[0][0], foreign.server._advertised[4][0]):
        refused(evidence(0, FaultKind.CONTRIBUTION, statement(0), extra=(content, keys_of.to_bytes(), seed)))


@cache
def slandered() -> Run:
    """A round in which corrupted site 3 complains of honest site 1, which discloses what it gave to it."""
    run = Culprits({("check", 3): complains_of(1)}).join(Run(FEDERATION))
    run.finish()
    assert run.server.faults == []
    return run


def test_as_many_complaints_as_sites_may_be_corrupted_are_no_evidence() -> None:
    run = slandered()
    complaint = run.server._checks[3][1]
    for repeated in range(1, 4):
        does_not_show(evidence(1, FaultKind.COMPLAINTS, *[complaint] * repeated, run=run))
    innocent = run.server._checks[2][1]
    does_not_show(evidence(1, FaultKind.COMPLAINTS, complaint, innocent, run=run))


@pytest.mark.parametrize("size", [2, 3, 4, 7, 10])
def test_it_takes_two_complaints_and_more_than_can_be_corrupted(size: int) -> None:
    federation = Federation.of(size)
    needed = max(2, most_corrupted(size) + 1)
    for count in {needed - 1, min(needed, size - 1)} - {0}:
        tricks = {("check", index): complains_of(0) for index in range(1, count + 1)}
        run = Culprits(tricks).join(Run(federation)).until("disclose")
        run.close("disclose")
        assert [(fault.site, fault.kind) for fault in run.server.faults] == (
            [(0, FaultKind.COMPLAINTS)] if count >= needed else []
        )


def test_an_honest_disclosure_is_no_evidence() -> None:
    run = slandered()
    disclosed = run.server._disclosed[1][1]
    does_not_show(evidence(1, FaultKind.DISCLOSURE, statement(1, run), disclosed, run=run))
    does_not_show(evidence(3, FaultKind.DISCLOSURE, statement(3, run), disclosed, run=run))


def test_a_second_statement_frames_no_holder() -> None:
    """An owner signs other commitments later on: the holder opened under those that it had accepted."""
    first = ShareStatement.from_bytes(body_of(FEDERATION, statement(3), Kind.SHARE))
    digest = FEDERATION.terms.digest
    other = tuple(made_up().commitments(3, holder, digest) for holder in first.neighbours)
    second = signed(FEDERATION, 3, Kind.SHARE, replace(first, committed=other).to_bytes())
    fault = evidence(0, FaultKind.SHARE, second, opening(0))
    refused(fault)
    table = {**fault.transcript.shared, 3: Shared(content_digest(second), first.neighbours)}
    refused(replace(fault, transcript=replace(fault.transcript, shared=table)))


def test_a_strangers_signature_is_no_evidence() -> None:
    opened = Opening.from_bytes(body_of(FEDERATION, opening(0), Kind.OPEN))
    body = replace(opened, self_mask=bytes(32)).to_bytes()
    evidence(0, FaultKind.SEED, statement(0), signed(FEDERATION, 0, Kind.OPEN, body)).prove(ROSTER)
    forged = sign(Kind.OPEN, body, FEDERATION.terms, identity("stranger"), 0)
    does_not_show(evidence(0, FaultKind.SEED, statement(0), forged), "not signed by a site of the roster")
