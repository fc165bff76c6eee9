"""Known answers of a whole round: every message byte for byte, worked out a second time by the reference."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from sealora_common.identity import SIGNATURE_BYTES, verify
from sealora_common.secagg import Fault, FaultKind, RoundTerms
from sealora_common.secagg.bodies import Envelope
from sealora_common.secagg.transcript import Transcript
from sealora_common.secagg.wire import Reader

import hpke_reference as hpke
import secagg_reference as reference
from secagg_fixed_round import fixed_split, fixed_terms, fixed_vector, named, run_fixed_round

ROUND = json.loads((Path(__file__).parent / "vectors" / "round.json").read_text())
SURVIVORS = [0, 1, 3]
GIVEN = (b"self mask", b"mask seed", b"contribution")


class ReferenceRound:
    """The fixed round, worked out by the reference from its seeds."""

    def __init__(self) -> None:
        self.digest = reference.terms_digest(ROUND["terms"], ROUND["segments"])
        self.share_seeds, self.mask_seeds, self.self_masks = (
            [named(site, purpose) for site in range(4)] for purpose in ("share seed", "mask seed", "self-mask seed")
        )
        self.publics = [
            (hpke.x_wing_public(share), hpke.x_wing_public(mask))
            for share, mask in zip(self.share_seeds, self.mask_seeds, strict=True)
        ]
        self.advertised = {site: b"".join(self.publics[site]) for site in range(4)}
        self.split = {
            secret: fixed_split(secret, 3, 4) for secret in (*self.mask_seeds, *self.self_masks)
        }  # every site holds a share, in the order of the roster
        self.envelopes = {
            owner: {holder: self.envelope(owner, holder) for holder in others(owner)} for owner in range(4)
        }
        self.statements = {owner: self.content(2, owner, self.share_body(owner)) for owner in range(4)}
        self.table = reference.table(self.statements, {site: others(site) for site in range(4)})
        self.shared = reference.shared_digest(self.advertised, self.table)
        self.transcript = reference.transcript_digest(self.shared, range(4))

    def content(self, kind: int, site: int, body: bytes) -> bytes:
        return reference.content(kind, self.digest, site, body)

    def contribution(self, owner: int, holder: int) -> bytes:
        return reference.contribution(self.mask_seeds[owner], owner, holder, self.digest)

    def given(self, owner: int, holder: int) -> tuple[bytes, bytes, bytes]:
        seed_share, mask_share = (self.split[each[owner]][holder] for each in (self.self_masks, self.mask_seeds))
        return seed_share, mask_share, self.contribution(owner, holder)

    def envelope(self, owner: int, holder: int) -> bytes:
        seed_share, mask_share, contribution = self.given(owner, holder)
        sealed = b""
        for what, plain, public in zip(
            (b"shares", b"contribution"), (seed_share + mask_share, contribution), self.publics[holder], strict=True
        ):
            bound = reference.bound_to(what, owner, holder, self.digest)
            randomness = named("sealed", bound.hex(), 0) + named("sealed", bound.hex(), 1)
            piece = bytearray(hpke.seal(plain, public, bound, randomness))
            if (what, owner, holder) == (b"shares", 1, 2):
                piece[-1] ^= 1
            sealed += piece
        return sealed

    def share_body(self, owner: int) -> bytes:
        body = reference.keys_digest(self.advertised)
        body += reference.commitment(b"seed", owner, owner, self.self_masks[owner], self.digest)
        body += reference.indices(others(owner))
        for holder in others(owner):
            body += hashlib.sha256(self.envelopes[owner][holder]).digest()
            for what, value in zip(
                (b"self mask", b"mask seed", b"contribution"), self.given(owner, holder), strict=True
            ):
                body += reference.commitment(what, owner, holder, value, self.digest)
        return body

    def masked(self, site: int) -> bytes:
        """The packed masked vector."""
        total = fixed_vector(site)
        signed_keys = [(reference.self_mask_key(self.self_masks[site], site, self.digest), 1)]
        for peer in others(site):
            low, high = sorted((site, peer))
            given = self.contribution(low, high), self.contribution(high, low)
            signed_keys.append((reference.mask_key(*given, low, high, self.digest), 1 if site < peer else -1))
        for key, sign in signed_keys:
            for words, mask in zip(total, reference.mask_words(key, ROUND["segments"]), strict=True):
                words[:] = [word + sign * masking for word, masking in zip(words, mask, strict=True)]
        return b"".join(
            reference.pack([word % 2**bits for word in words], bits)
            for words, (_, bits) in zip(total, ROUND["segments"], strict=True)
        )

    def opening(self, site: int) -> bytes:
        body = self.transcript + self.self_masks[site] + reference.indices(others(site))
        for owner in others(site):
            seed_share, mask_share, _ = self.given(owner, site)
            body += b"\1" + seed_share if owner in SURVIVORS else b"\2" + mask_share
        return body

    def contents(self, stage: str) -> dict[int, bytes]:
        """What each site says at a stage."""
        if stage == "advertise":
            return {site: self.content(1, site, body) for site, body in self.advertised.items()}
        if stage == "share":
            return self.statements
        if stage == "check":
            complaints = {site: [1] if site == 2 else [] for site in range(4)}
            return {site: self.content(3, site, self.shared + reference.indices(complaints[site])) for site in range(4)}
        if stage == "disclose":
            return {1: self.content(4, 1, self.shared + reference.indices([2]) + b"".join(self.given(1, 2)))}
        bodies = {
            "mask": lambda site: self.transcript + hashlib.sha256(self.masked(site)).digest(),
            "confirm": lambda site: self.transcript + reference.indices(SURVIVORS),
            "open": self.opening,
        }
        kind = {"mask": 5, "confirm": 6, "open": 7}[stage]
        return {site: self.content(kind, site, bodies[stage](site)) for site in SURVIVORS}


def others(site: int) -> list[int]:
    return [other for other in range(4) if other != site]


@pytest.fixture(scope="module")
def worked_out() -> ReferenceRound:
    return ReferenceRound()


def test_terms(worked_out: ReferenceRound) -> None:
    content = reference.terms_bytes(ROUND["terms"], ROUND["segments"])
    assert ROUND["terms_bytes"] == content.hex()
    assert ROUND["terms_digest"] == worked_out.digest.hex()
    assert RoundTerms.from_bytes(content) == fixed_terms()


def test_transcript(worked_out: ReferenceRound) -> None:
    assert ROUND["shared_digest"] == worked_out.shared.hex()
    assert ROUND["transcript_digest"] == worked_out.transcript.hex()
    content = reference.keys_bytes(worked_out.advertised) + worked_out.table + reference.indices(range(4))
    assert ROUND["transcript_bytes"] == content.hex()
    assert Transcript.from_bytes(content) == run_fixed_round().server._transcript


def test_envelopes(worked_out: ReferenceRound) -> None:
    made = run_fixed_round()
    for owner, given in worked_out.envelopes.items():
        for holder, envelope in given.items():
            assert ROUND["envelopes"][str(owner)][str(holder)] == hashlib.sha256(envelope).hexdigest()
            assert made.shared[owner].envelopes[holder] == Envelope.read(Reader(envelope))


@pytest.mark.parametrize("stage", ["advertise", "share", "check", "disclose", "mask", "confirm", "open"])
def test_what_the_messages_say(worked_out: ReferenceRound, stage: str) -> None:
    expected = worked_out.contents(stage)
    assert ROUND["contents"][stage] == {str(site): content.hex() for site, content in expected.items()}
    made = run_fixed_round()
    for site, content in expected.items():
        message = made.messages[stage][site]
        assert message[:-SIGNATURE_BYTES] == content
        signed = reference.signed_as(content)
        assert verify(made.roster.public_key(site), message[-SIGNATURE_BYTES:], signed)
        assert not verify(made.roster.public_key(site), message[-SIGNATURE_BYTES:], content)


@pytest.mark.parametrize("site", SURVIVORS)
def test_masked_vectors(worked_out: ReferenceRound, site: int) -> None:
    assert ROUND["packed"][str(site)] == worked_out.masked(site).hex()


def test_requests_are_bundles_of_messages() -> None:
    made = run_fixed_round()
    for stage, before in (("share", "advertise"), ("confirm", "mask"), ("open", "confirm")):
        expected = reference.bundle(list(made.messages[before].values()))
        assert made.requests[stage] == dict.fromkeys(made.messages[before], expected)
    assert made.requests["disclose"] == {1: reference.bundle([made.messages["check"][2]])}
    checks = reference.bundle(list(made.messages["check"].values()))
    disclosed = reference.bundle(list(made.messages["disclose"].values()))
    assert made.requests["mask"] == {
        site: checks + (disclosed if site == 2 else reference.bundle([])) for site in range(4)
    }


def test_check_requests_carry_the_table_the_statements_and_the_envelopes(worked_out: ReferenceRound) -> None:
    made = run_fixed_round()
    for recipient, request in made.requests["check"].items():
        expected = worked_out.table + reference.indices(others(recipient))
        for sender in others(recipient):
            signed = made.messages["share"][sender]
            expected += struct.pack(">I", len(signed)) + signed + worked_out.envelopes[sender][recipient]
        assert request == expected


def test_share_messages_carry_the_statement_and_the_envelopes(worked_out: ReferenceRound) -> None:
    made = run_fixed_round()
    for site, signed in made.messages["share"].items():
        expected = struct.pack(">I", len(signed)) + signed + reference.indices(others(site))
        assert made.shared[site].to_bytes() == expected + b"".join(worked_out.envelopes[site].values())


def test_evidence_carries_terms_transcript_messages_and_the_rest(worked_out: ReferenceRound) -> None:
    made = run_fixed_round()
    fault = Fault(3, FaultKind.SECRET, made.terms, made.server._transcript, (b"one", b"", b"three"), (b"extra",))
    expected = b""
    for part in (bytes.fromhex(ROUND["terms_bytes"]), bytes.fromhex(ROUND["transcript_bytes"])):
        expected += struct.pack(">I", len(part)) + part
    expected += reference.bundle([b"one", b"", b"three"]) + reference.bundle([b"extra"])
    for members in ((), (2, 7, 300)):
        head = b"SLRF" + struct.pack(">HB", 3, 5) + reference.indices(members)
        assert replace(fault, members=members).to_bytes() == head + expected


def test_the_opened_sum() -> None:
    plain = [fixed_vector(site) for site in (0, 1, 3)]
    for segment, (_, bits) in enumerate(ROUND["segments"]):
        expected = [sum(words) % 2**bits for words in zip(*(each[segment] for each in plain), strict=True)]
        assert ROUND["sum"][segment] == expected
    assert ROUND["survivors"] == [0, 1, 3]
