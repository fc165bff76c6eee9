"""Framing: a lying server and the sites that collude with it put together evidence against an honest site."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from sealora_common.secagg import Fault, FaultKind, ProtocolError
from sealora_common.secagg.bodies import CheckStatement
from sealora_common.secagg.faults import _Proof
from sealora_common.secagg.messages import Kind
from secagg_weakened import Rule, weaken

from secagg_framings import (
    CORRUPTED,
    DROPPED,
    FEDERATION,
    FRAMINGS,
    HONEST,
    NAMES,
    VICTIM,
    fault,
    two_complaints,
    world,
)
from secagg_runs import Federation


@pytest.mark.parametrize(("framing", "method", "rules"), FRAMINGS, ids=NAMES)
def test_an_honest_site_is_framed_where_the_rule_is_gone(
    framing: Callable[[], Fault], method: str, rules: list[Rule], monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = framing()
    weaken(monkeypatch, _Proof, method, *rules)
    evidence.prove(FEDERATION.roster)


@pytest.mark.parametrize("framing", [framing for framing, _, _ in FRAMINGS], ids=NAMES)
def test_an_honest_site_is_not_framed(framing: Callable[[], Fault]) -> None:
    evidence = framing()
    assert evidence.site in HONEST
    with pytest.raises(ProtocolError, match="evidence"):
        evidence.prove(FEDERATION.roster)


def test_complaints_of_two_sessions_do_not_add_up() -> None:
    """A turned site sent rubbish to two in each: no more in either than can be corrupted."""
    here = [world(1).of("check", index) for index in (1, 2)]
    body = CheckStatement(world(2).transcript.shared_digest, (6,)).to_bytes()
    elsewhere = [world(2).attacker.signs(index, Kind.CHECK, body) for index in (3, 4)]
    for of in (world(1), world(2)):
        with pytest.raises(ProtocolError, match="does not show"):
            fault(FaultKind.COMPLAINTS, 6, of.transcript, (*here, *elsewhere)).prove(FEDERATION.roster)


def test_evidence_under_another_roster_or_of_strangers_is_refused() -> None:
    with pytest.raises(ProtocolError, match="another roster"):
        two_complaints().prove(Federation.of(8).roster)
    one = world(1)
    strangers = replace(one.transcript, keys=dict(one.transcript.keys) | {7: bytes(32)})
    with pytest.raises(ProtocolError, match="not on the roster"):
        fault(FaultKind.SEED, VICTIM, strangers, (one.statements[VICTIM], one.of("open", 5))).prove(FEDERATION.roster)


class Assembler:
    """All that the attacker has, put together at random."""

    def __init__(self, seed: int) -> None:
        self.chosen = random.Random(seed)
        worlds = [world(1), world(2)]
        one = worlds[0]
        self.statements = [each for of in worlds for each in of.statements.values()]
        self.statements += [of.second_statement(index) for of in worlds for index in CORRUPTED]
        self.checks = [each for of in worlds for each in of.run.answers["check"].values()]
        self.disclosures = [each for of in worlds for each in of.run.answers["disclose"].values()]
        self.openings = [each for of in worlds for each in of.run.answers["open"].values()]
        self.openings += [of.false_opening(index, owner) for of in worlds for index in CORRUPTED for owner in HONEST]
        self.envelopes = [each.to_bytes() for of in worlds for each in of.envelopes.values()]
        self.advertised = [each.to_bytes() for of in worlds for each in of.attacker.advertised.values()]
        self.seeds = [
            seed for of in worlds for index in (*CORRUPTED, DROPPED) if (seed := of.attacker.mask_seed(index))
        ]
        self.transcripts = [of.transcript for of in worlds]
        self.transcripts += [replace(of.transcript, checked=of.transcript.checked[1:]) for of in worlds]
        self.transcripts += [of.with_statement(6, of.second_statement(6)) for of in worlds]
        self.transcripts.append(replace(one.transcript, keys=worlds[1].transcript.keys))
        self.transcripts.append(replace(one.transcript, shared=worlds[1].transcript.shared))

    def evidence(self, kind: FaultKind) -> Fault:
        pick = self.chosen.choice
        statement, transcript, extra = pick(self.statements), pick(self.transcripts), ()
        if kind is FaultKind.COMPLAINTS:
            messages = tuple(self.chosen.sample(self.checks, self.chosen.randint(1, 6)))
        elif kind is FaultKind.DISCLOSURE:
            messages = (statement, pick(self.disclosures))
        elif kind in (FaultKind.SHARE, FaultKind.SEED):
            messages = (statement, pick(self.openings))
        elif kind is FaultKind.SECRET:
            messages = (statement, *self.chosen.sample(self.openings, self.chosen.randint(4, 7)))
            extra = (pick(self.advertised),)
        else:
            messages, extra = (statement,), (pick(self.envelopes), pick(self.advertised), pick(self.seeds))
        return fault(kind, pick(HONEST), transcript, messages, extra)


@pytest.mark.parametrize("kind", FaultKind)
def test_nothing_that_can_be_put_together_shows_an_honest_site_at_fault(kind: FaultKind) -> None:
    assembler = Assembler(kind)
    for _ in range(1500):
        evidence = assembler.evidence(kind)
        with pytest.raises(ProtocolError):
            evidence.prove(FEDERATION.roster)


def test_damaged_evidence_is_refused_in_one_sentence() -> None:
    chosen = random.Random(5)
    samples = [framing().to_bytes() for framing, _, _ in FRAMINGS]
    for _ in range(1500):
        content = bytearray(chosen.choice(samples))
        for _ in range(chosen.randint(1, 3)):
            content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
        with pytest.raises(ProtocolError):
            Fault.from_bytes(bytes(content)).prove(FEDERATION.roster)


def test_evidence_without_its_parts_is_refused_in_one_sentence() -> None:
    one = world(1)
    own = one.attacker.advertised[VICTIM].to_bytes()
    for kind in FaultKind:
        for messages in ((), (one.statements[VICTIM],), (one.statements[VICTIM], one.of("open", 1))):
            for extra in ((), (own,), (one.envelopes[VICTIM, 5].to_bytes(), own, bytes(32)), (bytes(5), own, bytes(9))):
                with pytest.raises(ProtocolError):
                    fault(kind, VICTIM, one.transcript, messages, extra).prove(FEDERATION.roster)
