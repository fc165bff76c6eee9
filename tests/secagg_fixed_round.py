"""A round of four sites with fixed secrets, for the known-answer vectors. Only its signatures differ from run to run.

One site sends another what it cannot use, is complained of, and discloses it; the complainer drops out before it masks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np

from sealora_common.entropy import SeededEntropy
from sealora_common.identity import Identity
from sealora_common.roster import Roster
from sealora_common.secagg import (
    OpenedSum,
    RingVector,
    RoundTerms,
    Segment,
    ServerSession,
    SiteSession,
    keys,
    shares,
)
from sealora_common.secagg.bodies import ShareMessage, split_masked

import hpke_reference as hpke
import secagg_reference as reference

TERMS: dict[str, Any] = {
    "run": bytes(range(16)).hex(),
    "round_number": 3,
    "attempt": 2,
    "recipe_hash": "11" * 32,
    "roster_hash": "22" * 32,
    "order_digest": "33" * 32,
    "roster_size": 4,
    "threshold": 3,
    "min_survivors": 2,
    "sessions": 300,
    "sparse": True,
}
SEGMENTS = [(5, 13), (3, 32)]
CARELESS, DROPPED = 1, 2
"""One site cannot use what the other sent it, is given it in the clear, and drops out before it masks."""


def named(*name: str | int) -> bytes:
    """32 bytes of a name."""
    return hashlib.sha256("/".join(map(str, ("sealora vector", *name))).encode()).digest()


def fixed_terms() -> RoundTerms:
    digests = {name: bytes.fromhex(value) for name, value in TERMS.items() if isinstance(value, str)}
    return RoundTerms(**(TERMS | digests), segments=tuple(Segment(*segment) for segment in SEGMENTS))


class Fixed:
    """Entropy that hands out three named secrets in turn."""

    def __init__(self, site: int) -> None:
        self._left = [named(site, purpose) for purpose in ("share seed", "mask seed", "self-mask seed")]

    def bytes(self, count: int, /) -> bytes:
        assert count == 32
        return self._left.pop(0)


def fixed_split(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """Shares whose polynomial follows from the secret, for a round that is the same every time."""
    coefficients = [named("coefficient", secret.hex(), power) for power in range(1, threshold)]
    return reference.shamir_shares(secret, coefficients, range(1, count + 1))


def fixed_seal(plaintext: bytes, public: bytes, bound: bytes) -> bytes:
    """A sealed message whose randomness follows from what it is bound to; one of the round does not open."""
    randomness = named("sealed", bound.hex(), 0) + named("sealed", bound.hex(), 1)
    sealed = hpke.seal(plaintext, public, bound, randomness)
    unusable = bound == keys.bound_to(b"shares", CARELESS, DROPPED, fixed_terms().digest)
    return sealed[:-1] + bytes([sealed[-1] ^ 1]) if unusable else sealed


def fixed_vector(site: int) -> list[list[int]]:
    """A site's plain words, by segment."""
    return [
        [int.from_bytes(named(site, "word", bits, place)[:4], "big") % 2**bits // 4 for place in range(length)]
        for length, bits in SEGMENTS
    ]


@dataclass
class FixedRound:
    """A round of four sites: its messages and requests, by stage and site. Only the signatures differ from run to run.

    A mask message is split: its statement is among the messages, and the packed vector among the `packed`.
    """

    terms: RoundTerms
    roster: Roster
    server: ServerSession
    opened: OpenedSum
    requests: dict[str, dict[int, bytes]] = field(default_factory=dict)
    messages: dict[str, dict[int, bytes]] = field(default_factory=dict)
    shared: dict[int, ShareMessage] = field(default_factory=dict)
    packed: dict[int, bytes] = field(default_factory=dict)


@cache
def run_fixed_round() -> FixedRound:
    names = [f"site-{index}" for index in range(4)]
    identities = {name: Identity.create(name, SeededEntropy(name)) for name in names}
    coordinator = Identity.create("coordinator", SeededEntropy("coordinator"))
    roster = Roster.create("vectors", {name: each.public_key for name, each in identities.items()}, coordinator)
    terms = fixed_terms()
    server = ServerSession(terms, roster)
    made = FixedRound(terms, roster, server, OpenedSum(RingVector.zeros(terms.segments), ()))
    sites: dict[int, SiteSession] = {}
    made.messages["advertise"] = {}
    for index, name in enumerate(names):
        sites[index], message = SiteSession.begin(terms, roster, identities[name], Fixed(index))
        made.messages["advertise"][index] = message
        server.add_advertisement(message)

    def step(stage: str, requests: dict[int, bytes]) -> list[bytes]:
        made.requests[stage] = requests
        here = {index: each for index, each in requests.items() if stage in ("share", "check") or index != DROPPED}
        made.messages[stage] = {index: getattr(sites[index], stage)(request) for index, request in here.items()}
        return list(made.messages[stage].values())

    with patch.object(shares, "split", fixed_split), patch.object(keys, "seal", fixed_seal):
        for message in step("share", server.close_advertisements()):
            server.add_shares(message)
    made.shared = {index: ShareMessage.from_bytes(message) for index, message in made.messages["share"].items()}
    made.messages["share"] = {index: shared.signed for index, shared in made.shared.items()}
    for message in step("check", server.close_shares()):
        server.add_check(message)
    for message in step("disclose", server.close_checks()):
        server.add_disclosure(message)
    made.requests["mask"] = server.close_disclosures()
    made.messages["mask"] = {}
    for index, request in made.requests["mask"].items():
        if index != DROPPED:
            words = zip(fixed_vector(index), terms.segments, strict=True)
            vector = RingVector(terms.segments, tuple(np.array(each, dtype=segment.dtype) for each, segment in words))
            message = sites[index].mask(request, vector)
            server.add_masked(message)
            made.messages["mask"][index], made.packed[index] = split_masked(message)
    for message in step("confirm", server.close_masked()):
        server.add_confirmation(message)
    for message in step("open", server.close_confirmations()):
        server.add_opening(message)
    made.opened = server.open()
    return made
