"""The terms of one sealed round: what every key, share and signature of the round is bound to.

Each party works the terms out for itself, a site from its own recipe, policy and pinned roster. Parties that
disagree on any of them derive different keys and cannot read each other's messages, so nothing can be replayed
from another run, round, recipe or roster, and a server that shows two sites two different global adapters
(Pasquini et al., CCS 2022) gets no sum.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from sealora_common.secagg.errors import ProtocolError
from sealora_common.secagg.graph import Neighbourhood, neighbourhood
from sealora_common.secagg.ring import Segment
from sealora_common.secagg.wire import Reader, Writer

VERSION = 2


@dataclass(frozen=True)
class RoundTerms:
    """What a round is about.

    Attributes:
        run: 16 random bytes that name the run.
        round_number: 1, 2, ...
        attempt: 1, 2, ... within the round.
        recipe_hash: SHA-256 of the recipe.
        roster_hash: SHA-256 of the roster.
        order_digest: SHA-256 of the server's order, which covers the global adapter.
        roster_size: number of sites on the roster.
        threshold: number of sites that must confirm, and of shares that restore a secret.
        min_survivors: fewest sites in a sum that may be opened.
        segments: shape of the vector that is summed.
        sessions: most sealed sessions that a site takes part in under one run, over which what may go wrong by chance
            adds up (see `graph`).
        sparse: whether a site has k neighbours instead of all, where sites are many.
    """

    run: bytes
    round_number: int
    attempt: int
    recipe_hash: bytes
    roster_hash: bytes
    order_digest: bytes
    roster_size: int
    threshold: int
    min_survivors: int
    segments: tuple[Segment, ...]
    sessions: int = 1
    sparse: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.min_survivors <= self.roster_size < 2**16:
            raise ValueError(f"Expected 2 <= {self.min_survivors=} <= {self.roster_size=} < 2^16")
        if not self.roster_size / 2 < self.threshold <= self.roster_size:
            raise ValueError(f"Expected a threshold above half of {self.roster_size=}, got {self.threshold=}")
        if not 1 <= self.sessions < 2**32:
            raise ValueError(f"Expected at least one session, got {self.sessions=}")

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes of the terms."""
        return hashlib.sha256(b"sealora secagg terms" + self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        writer = Writer().unsigned(VERSION, 1).fixed(self.run, 16)
        writer.unsigned(self.round_number, 4).unsigned(self.attempt, 4)
        writer.fixed(self.recipe_hash, 32).fixed(self.roster_hash, 32).fixed(self.order_digest, 32)
        writer.unsigned(self.roster_size, 2).unsigned(self.threshold, 2).unsigned(self.min_survivors, 2)
        writer.unsigned(self.sessions, 4).unsigned(self.sparse, 1).unsigned(len(self.segments), 1)
        for segment in self.segments:
            writer.unsigned(segment.length, 5).unsigned(segment.bits, 1)
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> RoundTerms:
        """The inverse of `to_bytes`.

        Raises:
            ProtocolError: the bytes are no terms, or not in their one form.
        """
        reader = Reader(content)
        if reader.unsigned(1) != VERSION:
            raise ProtocolError("the terms of a round are of another version of the protocol: they were refused")
        try:
            terms = cls(
                run=reader.fixed(16),
                round_number=reader.unsigned(4),
                attempt=reader.unsigned(4),
                recipe_hash=reader.fixed(32),
                roster_hash=reader.fixed(32),
                order_digest=reader.fixed(32),
                roster_size=reader.unsigned(2),
                threshold=reader.unsigned(2),
                min_survivors=reader.unsigned(2),
                sessions=reader.unsigned(4),
                sparse=bool(reader.unsigned(1)),
                segments=tuple(Segment(reader.unsigned(5), reader.unsigned(1)) for _ in range(reader.unsigned(1))),
            )
        except ValueError as error:
            raise ProtocolError(f"the terms of a round make no sense ({error}): they were refused") from None
        reader.finish()
        if terms.to_bytes() != content:
            raise ProtocolError("the terms of a round are not in canonical form: they were refused")
        return terms

    def neighbourhood(self, participants: int) -> Neighbourhood:
        """Neighbours of a site, and shares that restore its secrets, when so many sites advertised keys."""
        sparse = neighbourhood(participants, self.roster_size, self.sessions) if self.sparse else None
        return sparse or Neighbourhood(participants - 1, self.threshold)

    @property
    def needed(self) -> int:
        """Fewest sites that may stand at the end of any stage."""
        return max(self.threshold, self.min_survivors)


def most_corrupted(roster_size: int) -> int:
    """Most sites of a roster that are taken to be corrupted and to collude: fewer than a third.

    Of the whole roster: all of them may have been dealt into one group.
    """
    return (roster_size - 1) // 3


def threshold_for(roster_size: int, adversary: Literal["malicious", "curious"]) -> int:
    """Smallest threshold that is secure for a roster of this size.

    Against a curious server more than n/2, against a malicious one more than 2n/3 (Bonawitz et al., CCS 2017,
    theorems 6.3 and 6.5 with no corrupted sites; section 6 for the general bound): with fewer, a server that
    tells two groups of sites two different survivor sets can collect both kinds of share of one site.

    >>> threshold_for(3, "malicious"), threshold_for(5, "malicious"), threshold_for(5, "curious")
    (3, 4, 3)
    """
    if adversary == "malicious":
        return 2 * roster_size // 3 + 1
    return roster_size // 2 + 1
