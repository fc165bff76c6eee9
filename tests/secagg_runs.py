"""Builders of sealed rounds: rosters, terms, vectors, and a round driven stage by stage with hooks for a test.

`Federation` is who takes part and under which terms; `Run` is one round of it. Long-term identities are made once
and reused, so that a round of four sites takes a few milliseconds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import numpy as np

from sealora_common.entropy import SeededEntropy, SystemEntropy
from sealora_common.identity import Identity
from sealora_common.roster import Roster
from sealora_common.secagg import OpenedSum, RingVector, RoundTerms, Segment, ServerSession, SiteSession, threshold_for
from sealora_common.secagg.graph import Neighbourhood

STAGES = ("advertise", "share", "check", "disclose", "mask", "confirm", "open")
"""The stages of a round, in order; a site answers each of them once, but disclose, which only the accused do."""
SMALL = (Segment(5, 16), Segment(2, 32))
"""A vector that is quick to mask and still has two kinds of word."""

_ADD = {
    "advertise": "add_advertisement",
    "share": "add_shares",
    "check": "add_check",
    "disclose": "add_disclosure",
    "mask": "add_masked",
    "confirm": "add_confirmation",
    "open": "add_opening",
}
_CLOSE = {
    "share": "close_advertisements",
    "check": "close_shares",
    "disclose": "close_checks",
    "mask": "close_disclosures",
    "confirm": "close_masked",
    "open": "close_confirmations",
}

Hook = Callable[[str, int, bytes], bytes | None]


@cache
def identity(name: str) -> Identity:
    """The long-term identity of the site called `name`; the same in every test."""
    return Identity.create(name, SeededEntropy("identity", name))


@cache
def roster_of(size: int, prefix: str = "site") -> Roster:
    """A roster of `size` sites, signed by a coordinator."""
    names = [f"{prefix}-{index:04d}" for index in range(size)]
    return Roster.create("consortium", {name: identity(name).public_key for name in names}, identity("coordinator"))


@dataclass(frozen=True)
class SmallGraphTerms(RoundTerms):
    """Terms under which few sites form a sparse graph: the neighbourhood is the test's and not computed."""

    small: Neighbourhood = field(default_factory=lambda: Neighbourhood(0, 0))

    def neighbourhood(self, participants: int) -> Neighbourhood:
        return self.small


@dataclass(frozen=True)
class Federation:
    """Who takes part, and under which terms."""

    roster: Roster
    terms: RoundTerms

    @classmethod
    def of(
        cls,
        size: int,
        adversary: Literal["malicious", "curious"] = "malicious",
        *,
        small_graph: Neighbourhood | None = None,
        **changes: Any,
    ) -> Federation:
        """A federation of `size` sites; `changes` are fields of the terms."""
        roster = roster_of(size)
        fields: dict[str, Any] = {
            "run": bytes(range(16)),
            "round_number": 1,
            "attempt": 1,
            "recipe_hash": b"\x01" * 32,
            "roster_hash": roster.hash,
            "order_digest": b"\x02" * 32,
            "roster_size": size,
            "threshold": threshold_for(size, adversary),
            "min_survivors": 2,
            "segments": SMALL,
        }
        fields.update(changes)
        if small_graph is not None:
            return cls(roster, SmallGraphTerms(**fields, small=small_graph))
        return cls(roster, RoundTerms(**fields))

    def with_terms(self, **changes: Any) -> Federation:
        """The same federation under other terms."""
        return replace(self, terms=replace(self.terms, **changes))

    def identity(self, index: int) -> Identity:
        return identity(self.roster.names[index])

    def begin(self, index: int, site_class: type[SiteSession] = SiteSession) -> tuple[SiteSession, bytes]:
        """A fresh session of one site, and its advertisement."""
        return site_class.begin(self.terms, self.roster, self.identity(index), SystemEntropy())

    def server(self) -> ServerSession:
        return ServerSession(self.terms, self.roster)

    def __len__(self) -> int:
        return len(self.roster)


def vector_of(segments: tuple[Segment, ...], *seed: int) -> RingVector:
    """A vector of uniformly random words, the same for the same seed."""
    generator = np.random.default_rng([*seed, 7])
    return RingVector(
        segments,
        tuple(
            generator.integers(0, segment.modulus_mask, segment.length, dtype=np.uint64, endpoint=True).astype(
                segment.dtype
            )
            for segment in segments
        ),
    )


def sum_of(vectors: Collection[RingVector]) -> RingVector:
    """The sum of vectors, reduced."""
    total = RingVector.zeros(next(iter(vectors)).segments)
    for vector in vectors:
        total.add_(vector)
    total.reduce_()
    return total


def same(left: RingVector, right: RingVector) -> bool:
    """Whether two vectors are equal, word for word."""
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(left.words, right.words, strict=True))


@dataclass
class Run:
    """One round: its sites, its server, and every message that was sent.

    Attributes:
        site_class: the class of the sites, where a test weakens one.
        restored: whether a site's session is written out and read back before every stage, as a deployed site's is.
        on_request: called with stage, site and request; what it returns reaches the site, None drops it.
        on_answer: called with stage, site and answer; what it returns reaches the server, None drops it.
    """

    federation: Federation
    site_class: type[SiteSession] = SiteSession
    restored: bool = False
    on_request: Hook | None = None
    on_answer: Hook | None = None
    sites: dict[int, SiteSession] = field(default_factory=dict)
    vectors: dict[int, RingVector] = field(default_factory=dict)
    requests: dict[str, dict[int, bytes]] = field(default_factory=dict)
    answers: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = self.federation.server()

    def vector(self, index: int) -> RingVector:
        """The plain vector of a site in this round (a fresh copy)."""
        if index not in self.vectors:
            self.vectors[index] = vector_of(self.federation.terms.segments, index)
        return copy.deepcopy(self.vectors[index])

    def answer(self, stage: str, index: int, request: bytes) -> bytes:
        """A site's answer to a request."""
        site = self.sites[index]
        if self.restored:
            terms, roster = self.federation.terms, self.federation.roster
            site = type(site).from_bytes(site.to_bytes(), terms, roster, self.federation.identity(index))
            self.sites[index] = site
        if stage == "mask":
            return site.mask(request, self.vector(index))
        answer: bytes = getattr(site, stage)(request)
        return answer

    def close(self, stage: str) -> dict[int, bytes]:
        """Closes the stage before `stage` and returns the requests for it, by site."""
        requests: dict[int, bytes] = getattr(self.server, _CLOSE[stage])()
        self.requests[stage] = requests
        return requests

    def deliver(self, stage: str, message: bytes) -> int:
        """Hands the server a message of `stage`."""
        sender: int = getattr(self.server, _ADD[stage])(message)
        return sender

    def step(self, stage: str, absent: Collection[int] = ()) -> None:
        """One stage of all sites but the absent ones."""
        if stage == "advertise":
            answers = {}
            for index in sorted(set(range(len(self.federation))) - set(absent)):
                self.sites[index], answers[index] = self.federation.begin(index, self.site_class)
        else:
            answers = {}
            for index, request in self.close(stage).items():
                if index in absent:
                    continue
                heard = self.on_request(stage, index, request) if self.on_request else request
                if heard is not None:
                    answers[index] = self.answer(stage, index, heard)
        self.answers[stage] = answers
        for index, message in answers.items():
            sent = self.on_answer(stage, index, message) if self.on_answer else message
            if sent is not None:
                self.deliver(stage, sent)

    def until(self, stage: str, drops: Mapping[int, str] | None = None) -> Run:
        """Runs all stages before `stage`; `drops` says at which stage a site falls silent for good."""
        for earlier in STAGES[: STAGES.index(stage)]:
            self.step(earlier, gone_by(earlier, drops or {}))
        return self

    def finish(self, drops: Mapping[int, str] | None = None) -> OpenedSum:
        """Runs the whole round and opens the sum."""
        self.until("open", drops).step("open", gone_by("open", drops or {}))
        return self.server.open()

    def expected(self, survivors: Collection[int]) -> RingVector:
        """The sum that the survivors' vectors have."""
        return sum_of([self.vector(index) for index in survivors])


def gone_by(stage: str, drops: Mapping[int, str]) -> set[int]:
    """The sites that are silent at `stage`."""
    return {index for index, dropped_at in drops.items() if STAGES.index(dropped_at) <= STAGES.index(stage)}


def clone_site(site: SiteSession) -> SiteSession:
    """A copy of a session, which goes its own way from here on."""
    return type(site)(site._terms, site._roster, site._identity, site._state.model_copy(deep=True))


def clone_server(server: ServerSession) -> ServerSession:
    """A copy of the server's session."""
    shared = {id(server._terms): server._terms, id(server._roster): server._roster}
    return copy.deepcopy(server, shared)
