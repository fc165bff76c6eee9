"""Evidence against an honest site, as a lying server and the sites that collude with it put it together.

They have two sessions of the same terms (the order given twice), all that was sent in them, and whatever the colluders
care to sign. Each rule of `faults` is what one such piece of evidence fails by: without it the evidence would hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from sealora_common.secagg import Fault, FaultKind
from sealora_common.secagg.bodies import (
    CheckStatement,
    Disclosure,
    Envelope,
    Opening,
    ShareKind,
    ShareMessage,
    ShareStatement,
)
from sealora_common.secagg.messages import Kind, content_digest
from sealora_common.secagg.transcript import Shared, Transcript
from secagg_turned import complaining, go_on, sealing_rubbish, turn
from secagg_weakened import Rule

from secagg_attacker import Attacker, body_of
from secagg_runs import Federation, Run

FEDERATION = Federation.of(7)
HONEST = (0, 1, 2, 3, 4)
VICTIM, DROPPED = 0, 4
CORRUPTED = (5, 6)


class GrumblingAndSealingRubbish(complaining(VICTIM), sealing_rubbish(1, 2)):  # type: ignore[misc]
    """Does both."""


@dataclass
class World:
    """One session, and what the attacker makes of it."""

    run: Run
    attacker: Attacker
    transcript: Transcript
    statements: dict[int, bytes]
    envelopes: dict[tuple[int, int], Envelope]

    def of(self, stage: str, index: int) -> bytes:
        return self.run.answers[stage][index]

    def second_statement(self, index: int) -> bytes:
        """What a colluder signs later: the same draws, and commitments to other values."""
        body = body_of(self.statements[index], Kind.SHARE, FEDERATION)
        statement = ShareStatement.from_bytes(body)
        committed = tuple(replace(one, self_mask=bytes(32), mask_seed=bytes(32)) for one in statement.committed)
        return self.attacker.signs(index, Kind.SHARE, replace(statement, committed=committed).to_bytes())

    def false_opening(self, index: int, owner: int, transcript: bytes | None = None) -> bytes:
        """A colluder's opening with a made-up share of an owner."""
        body = Opening(transcript or self.transcript.digest, bytes(32), {owner: (ShareKind.SELF_MASK, os.urandom(32))})
        return self.attacker.signs(index, Kind.OPEN, body.to_bytes())

    def with_statement(self, index: int, message: bytes) -> Transcript:
        """The transcript, with another statement in it."""
        shared = Shared(content_digest(message), self.transcript.shared[index].neighbours)
        return replace(self.transcript, shared=dict(self.transcript.shared) | {index: shared})


@cache
def world(session: int) -> World:
    """Sessions of the same terms, in which turned sites complain of the victim, honest ones of a turned one."""
    run = Run(FEDERATION)
    run.step("advertise")
    turned = {5: complaining(VICTIM), 6: GrumblingAndSealingRubbish}
    go_on(turn(run, turned), "open", {DROPPED: "mask"})
    transcript = run.sites[VICTIM]._state.transcript
    attacker = Attacker.watching(run, CORRUPTED)
    for index, request in run.close("open").items():
        run.answers.setdefault("open", {})[index] = run.answer("open", index, request)
    for message in run.answers["open"].values():
        run.deliver("open", message)
        attacker.hears_opening(message)
    run.server.open()
    assert not run.server.faults
    sent = {index: ShareMessage.from_bytes(message) for index, message in run.answers["share"].items()}
    return World(
        run,
        attacker,
        transcript,
        {index: share.signed for index, share in sent.items()},
        {(index, holder): one for index, share in sent.items() for holder, one in share.envelopes.items()},
    )


def fault(
    kind: FaultKind,
    site: int,
    transcript: Transcript,
    messages: tuple[bytes, ...],
    extra: tuple[bytes, ...] = (),
) -> Fault:
    return Fault(site, kind, FEDERATION.terms, transcript, messages, extra)


def two_complaints() -> Fault:
    """Of two colluders: as many as can be corrupted."""
    complaints = tuple(world(1).of("check", index) for index in CORRUPTED)
    return fault(FaultKind.COMPLAINTS, VICTIM, world(1).transcript, complaints)


def one_complaint_many_times() -> Fault:
    body = CheckStatement(world(1).transcript.shared_digest, (VICTIM,)).to_bytes()
    complaints = tuple(world(1).attacker.signs(index, Kind.CHECK, body) for index in CORRUPTED)
    return fault(FaultKind.COMPLAINTS, VICTIM, world(1).transcript, complaints * 3)


def complaints_of_another() -> Fault:
    """Of two colluders, and two that complain of somebody else."""
    complaints = tuple(world(1).of("check", index) for index in (1, 2, 5, 6))
    return fault(FaultKind.COMPLAINTS, VICTIM, world(1).transcript, complaints)


def disclosure_of_another_session() -> Fault:
    """What the victim disclosed in one session does not fit what it committed to in the other."""
    one, other = world(1), world(2)
    messages = (other.statements[VICTIM], one.of("disclose", VICTIM))
    return fault(FaultKind.DISCLOSURE, VICTIM, other.transcript, messages)


def statement_of_another_session_beside_a_disclosure() -> Fault:
    one, other = world(1), world(2)
    messages = (other.statements[VICTIM], one.of("disclose", VICTIM))
    return fault(FaultKind.DISCLOSURE, VICTIM, one.transcript, messages)


def disclosure_of_another_site() -> Fault:
    """A colluder discloses rubbish."""
    one = world(1)
    given = one.attacker.knows(VICTIM, 5)
    assert given is not None
    body = Disclosure(one.transcript.shared_digest, {5: replace(given, self_mask=bytes(32))}).to_bytes()
    messages = (one.statements[VICTIM], one.attacker.signs(6, Kind.DISCLOSE, body))
    return fault(FaultKind.DISCLOSURE, VICTIM, one.transcript, messages)


def disclosure_held_against_anothers_statement() -> Fault:
    one = world(1)
    messages = (one.statements[5], one.of("disclose", VICTIM))
    return fault(FaultKind.DISCLOSURE, VICTIM, one.transcript, messages)


def share_held_against_a_second_statement() -> Fault:
    """A colluder signs a second statement later, under which the share that the victim opened is a false one."""
    one = world(1)
    messages = (one.second_statement(6), one.of("open", VICTIM))
    return fault(FaultKind.SHARE, VICTIM, one.transcript, messages)


def share_held_against_a_second_statement_in_a_transcript_of_its_own() -> Fault:
    one = world(1)
    second = one.second_statement(6)
    return fault(FaultKind.SHARE, VICTIM, one.with_statement(6, second), (second, one.of("open", VICTIM)))


def opening_of_another_site() -> Fault:
    one = world(1)
    return fault(FaultKind.SHARE, VICTIM, one.transcript, (one.statements[1], one.false_opening(5, 1)))


def seed_of_another_session() -> Fault:
    """The victim opened one self-mask and in the other session another."""
    one, other = world(1), world(2)
    return fault(FaultKind.SEED, VICTIM, other.transcript, (other.statements[VICTIM], one.of("open", VICTIM)))


def seed_of_another_site() -> Fault:
    one = world(1)
    return fault(FaultKind.SEED, VICTIM, one.transcript, (one.statements[VICTIM], one.of("open", 5)))


def seed_held_against_anothers_statement() -> Fault:
    one = world(1)
    return fault(FaultKind.SEED, VICTIM, one.transcript, (one.statements[1], one.of("open", VICTIM)))


def secret(transcript: Transcript, statement: bytes, openings: tuple[bytes, ...]) -> Fault:
    own = world(1).attacker.advertised[VICTIM].to_bytes()
    return fault(FaultKind.SECRET, VICTIM, transcript, (statement, *openings), (own,))


def secret_of_false_shares() -> Fault:
    """True shares of honest holders, and two false ones of the colluders."""
    one = world(1)
    true = tuple(one.of("open", index) for index in (1, 2, 3))
    false = tuple(one.false_opening(index, VICTIM) for index in CORRUPTED)
    return secret(one.transcript, one.statements[VICTIM], (*true, *false))


def secret_of_too_few_shares() -> Fault:
    one = world(1)
    return secret(one.transcript, one.statements[VICTIM], tuple(one.of("open", index) for index in (1, 2, 5, 6)))


def secret_beside_keys_of_another_session() -> Fault:
    """An honest site dropped out and its seed was restored: it is not the seed of the keys of its other session."""
    one, other = world(1), world(2)
    openings = tuple(one.of("open", index) for index in (0, 1, 2, 3, 5))
    advertised = other.attacker.advertised[DROPPED].to_bytes()
    return fault(FaultKind.SECRET, DROPPED, one.transcript, (one.statements[DROPPED], *openings), (advertised,))


def envelope_of(drawer: int, holder: int, envelope: Envelope, advertised: bytes, seed: bytes) -> Fault:
    one = world(1)
    extra = (envelope.to_bytes(), advertised, seed)
    assert holder in CORRUPTED
    return fault(FaultKind.CONTRIBUTION, drawer, one.transcript, (one.statements[drawer],), extra)


def contribution_with_another_seed() -> Fault:
    one = world(1)
    advertised = one.attacker.advertised[5].to_bytes()
    return envelope_of(VICTIM, 5, one.envelopes[VICTIM, 5], advertised, os.urandom(32))


def contribution_in_another_envelope() -> Fault:
    one = world(1)
    rubbish = Envelope(one.envelopes[VICTIM, 5].shares, bytes(len(one.envelopes[VICTIM, 5].contribution)))
    return envelope_of(VICTIM, 5, rubbish, one.attacker.advertised[5].to_bytes(), one.attacker.mask_seeds[5])


def contribution_to_other_keys() -> Fault:
    """A colluder's keys of the other session, in a transcript that names them."""
    one, other = world(1), world(2)
    keys_of = dict(one.transcript.keys) | {5: other.transcript.keys[5]}
    extra = (
        one.envelopes[VICTIM, 5].to_bytes(),
        other.attacker.advertised[5].to_bytes(),
        other.attacker.mask_seeds[5],
    )
    return fault(
        FaultKind.CONTRIBUTION,
        VICTIM,
        replace(one.transcript, keys=keys_of),
        (one.statements[VICTIM],),
        extra,
    )


FRAMINGS: list[tuple[Callable[[], Fault], str, list[Rule]]] = [
    (two_complaints, "complaints", [("> max(1, self._corrupted)", "> 1")]),
    (one_complaint_many_times, "complaints", [("complainers = set()", "complainers = []"), (".add(", ".append(")]),
    (complaints_of_another, "complaints", [(" or self._fault.site not in checked.complaints", "")]),
    (
        disclosure_of_another_session,
        "disclosure",
        [(" or disclosure.transcript != self._fault.transcript.shared_digest", "")],
    ),
    (
        statement_of_another_session_beside_a_disclosure,
        "_any_statement",
        [
            ("entry.statement != content_digest(message)", "False"),
            ("or statement.keys_digest != keys_digest(transcript.keys)", ""),
        ],
    ),
    (disclosure_of_another_site, "disclosure", [("sender != self._fault.site or ", "")]),
    (disclosure_held_against_anothers_statement, "_statement", [("if owner != site:", "if False:")]),
    (
        share_held_against_a_second_statement,
        "_any_statement",
        [("entry.statement != content_digest(message)", "False")],
    ),
    (
        share_held_against_a_second_statement_in_a_transcript_of_its_own,
        "_opening",
        [(" or opening.transcript != self._fault.transcript.digest", "")],
    ),
    (opening_of_another_site, "_opening", [("sender != site or ", "")]),
    (seed_of_another_session, "_opening", [(" or opening.transcript != self._fault.transcript.digest", "")]),
    (seed_of_another_site, "_opening", [("sender != site or ", "")]),
    (seed_held_against_anothers_statement, "_statement", [("if owner != site:", "if False:")]),
    (
        secret_of_false_shares,
        "secret",
        [(" or not self._share_fits(statement, site, holder, kind, share)", "")],
    ),
    (secret_of_too_few_shares, "secret", [(" or len(held) < threshold", ""), ("(held, threshold)", "(held, 4)")]),
    (
        secret_beside_keys_of_another_session,
        "_advertisement",
        [("if _digest_of(body) != self._fault.transcript.keys[site]:", "if False:")],
    ),
    (
        contribution_with_another_seed,
        "contribution",
        [("if pair.public != self._advertisement(advertised, holder).mask_public:", "if False:")],
    ),
    (contribution_in_another_envelope, "contribution", [(" or envelope.digest != digest", "")]),
    (
        contribution_to_other_keys,
        "_any_statement",
        [("or statement.keys_digest != keys_digest(transcript.keys)", "")],
    ),
]
NAMES = [framing.__name__ for framing, _, _ in FRAMINGS]
