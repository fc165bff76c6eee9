"""Receipts as rounds of a federation leave them, made from the parties' keys without running a round.

`Consortium` holds all keys, the server's among them, so that a test can make what only several of them together
could, and whatever a part of them might forge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sealora_common.entropy import SeededEntropy
from sealora_common.identity import Identity
from sealora_common.receipts.receipt import OpeningProof, Receipt, history_of
from sealora_common.roster import Roster
from sealora_common.round.groups import groups_of
from sealora_common.round.order import RoundOrder
from sealora_common.secagg import RoundTerms, Segment, threshold_for
from sealora_common.secagg.bodies import Survivors
from sealora_common.secagg.messages import Kind, sign

RUN = "ab" * 16
SEGMENTS = (Segment(10, 16),)


def terms_for(order: RoundOrder, roster: Roster, **changes: Any) -> RoundTerms:
    """The terms that sites work out from an order, but for the vector's shape; some of them changed."""
    terms = RoundTerms(
        run=bytes.fromhex(order.run),
        round_number=order.round_number,
        attempt=order.attempt,
        recipe_hash=bytes.fromhex(order.recipe_hash),
        roster_hash=bytes.fromhex(order.roster_hash),
        order_digest=order.digest,
        roster_size=len(roster),
        threshold=threshold_for(len(roster), "malicious"),
        min_survivors=2,
        segments=SEGMENTS,
    )
    return replace(terms, **changes)


def transcript_of(order: RoundOrder) -> bytes:
    """A made-up session of the order's round."""
    return hashlib.sha256(b"session of " + order.digest).digest()


def confirmation(
    terms: RoundTerms, roster: Roster, identity: Identity, survivors: Iterable[str], transcript: bytes
) -> bytes:
    """What one site signs in the confirm stage."""
    indices = tuple(sorted(roster.index(name) for name in survivors))
    index = roster.names.index(identity.name) if identity.name in roster.names else 0
    return sign(Kind.CONFIRM, Survivors(transcript, indices).to_bytes(), terms, identity, index)


def quorum(
    terms: RoundTerms,
    roster: Roster,
    identities: Mapping[str, Identity],
    survivors: Sequence[str],
    transcript: bytes,
    confirming: Sequence[str] | None = None,
) -> OpeningProof:
    """The confirmations of `confirming`, or of as many survivors as are needed."""
    named = list(survivors)[: terms.needed] if confirming is None else confirming
    messages = [confirmation(terms, roster, identities[name], survivors, transcript) for name in named]
    return OpeningProof(terms=terms.to_bytes(), confirmations=tuple(messages))


@dataclass
class Consortium:
    """A few sites, their server and their coordinator."""

    count: int = 4
    name: str = ""
    recipe_hash: str = "1" * 64
    server: Identity = field(init=False)
    identities: dict[str, Identity] = field(init=False)
    roster: Roster = field(init=False)

    def __post_init__(self) -> None:
        def made(name: str) -> Identity:
            return Identity.create(name, SeededEntropy(f"{self.name}{name}"))

        self.server = made("server")
        self.coordinator = made("coordinator")
        self.identities = {f"site-{index}": made(f"site-{index}") for index in range(self.count)}
        self.roster = self.roster_of(self.identities)

    def roster_of(self, names: Iterable[str]) -> Roster:
        keys = {name: self.identities[name].public_key for name in names}
        return Roster.create("test", keys, self.coordinator, self.server.public_key)

    @property
    def names(self) -> tuple[str, ...]:
        return self.roster.names

    @property
    def rosters(self) -> dict[str, Roster]:
        return {self.roster.hash.hex(): self.roster}

    def order(self, receipts: Sequence[Receipt] = (), **changes: Any) -> RoundOrder:
        """The order of the round that follows `receipts`, with fields changed."""
        values = {
            "purpose": "train",
            "run": RUN,
            "round_number": len(receipts) + 1,
            "attempt": 1,
            "nonce": f"{len(receipts):032x}",
            "recipe_hash": self.recipe_hash,
            "roster_hash": self.roster.hash.hex(),
            "roster_sequence": self.roster.sequence,
            "layout_digest": "3" * 64,
            "adapter_digest": receipts[-1].adapter_digest if receipts else "4" * 64,
            "history": history_of(receipts),
            "clip_range": 0.5,
            "clip_norm": 1.0,
        }
        return RoundOrder.model_validate(values | changes)

    def grouped_receipt(
        self, order: RoundOrder, opened: Iterable[Sequence[str]], adapter_digest: str = "9" * 64
    ) -> Receipt:
        """A receipt of a round in groups, of which those with these members were opened, whole."""
        proofs = []
        for group in groups_of(order, self.roster):
            if group.names in [tuple(names) for names in opened]:
                terms = terms_for(order, group, roster_hash=group.hash, min_survivors=3)
                proofs.append(quorum(terms, group, self.identities, group.names, transcript_of(order)))
        survivors = tuple(sorted(name for names in opened for name in names))
        return Receipt.issue(order, proofs, survivors, adapter_digest, self.server)

    def receipt(
        self,
        order: RoundOrder,
        adapter_digest: str = "f" * 64,
        *,
        survivors: Sequence[str] | None = None,
        confirming: Sequence[str] | None = None,
        transcript: bytes | None = None,
        terms: RoundTerms | None = None,
    ) -> Receipt:
        """The receipt of the order's round, confirmed and signed as it should be, unless a test says otherwise."""
        names = self.names if survivors is None else survivors
        terms = terms or terms_for(order, self.roster)
        proof = quorum(terms, self.roster, self.identities, names, transcript or transcript_of(order), confirming)
        return Receipt.issue(order, [proof], tuple(names), adapter_digest, self.server)

    def chain(self, length: int, receipts: Sequence[Receipt] = (), *, world: str = "f", **rest: Any) -> list[Receipt]:
        """`receipts` some rounds later; another `world` is other adapters."""
        grown = list(receipts)
        for _ in range(length):
            digest = f"{len(grown) + 1:02x}" + world * 62
            grown.append(self.receipt(self.order(grown), digest, **rest))
        return grown
