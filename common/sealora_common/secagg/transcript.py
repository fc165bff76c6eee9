"""What all sites of a round must have seen alike before they open: every key, everything shared, and who checked it.

Keys are fresh in every session, so what a site signs under a digest of these holds in that session alone, also where a
server gives the same order twice and the terms are the same. Who drew whom is part of it: a site that is not given an
envelope meant for it knows that it is missing, and no mask comes off for that.

A transcript has bytes of its own, so that it can be shown to somebody who took no part, as evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sealora_common.secagg.errors import ProtocolError
from sealora_common.secagg.wire import Reader, Writer


@dataclass(frozen=True)
class Shared:
    """What one site shared: the digest of its signed statement, and its neighbours by its own choice."""

    statement: bytes
    neighbours: tuple[int, ...]


@dataclass(frozen=True)
class Transcript:
    """A session as far as it has come.

    Attributes:
        keys: 32-byte digest of each site's advertisement, by site.
        shared: what each site shared, by site.
        checked: the sites that checked what they were sent and go on to mask; empty before.
    """

    keys: Mapping[int, bytes]
    shared: Mapping[int, Shared]
    checked: tuple[int, ...] = ()

    @property
    def shared_digest(self) -> bytes:
        """SHA-256 of keys and shares: what sites sign when they have checked their envelopes."""
        return hashlib.sha256(b"sealora secagg v2 shared" + keys_digest(self.keys) + table_bytes(self.shared)).digest()

    @property
    def digest(self) -> bytes:
        """SHA-256 of all of it: what sites mask, confirm and open under."""
        checked = Writer().indices(self.checked).getvalue()
        return hashlib.sha256(b"sealora secagg v2 checked" + self.shared_digest + checked).digest()

    def drew(self, site: int, other: int) -> bool:
        """Whether `site` drew `other` as a neighbour."""
        return other in self.shared[site].neighbours

    def are_neighbours(self, one: int, other: int) -> bool:
        """Whether two sites share a mask: one of them drew the other."""
        return self.drew(one, other) or self.drew(other, one)

    def holders(self, owner: int) -> tuple[int, ...]:
        """The sites that hold shares of `owner`'s secrets, itself among them, ascending."""
        return tuple(sorted((*self.shared[owner].neighbours, owner)))

    def point(self, owner: int, holder: int) -> int:
        """The evaluation point of `holder`'s shares of `owner`'s secrets: its place among the holders, from 1."""
        return self.holders(owner).index(holder) + 1

    def to_bytes(self) -> bytes:
        return _keys_bytes(self.keys) + table_bytes(self.shared) + Writer().indices(self.checked).getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Transcript:
        reader = Reader(content)
        names = reader.indices()
        keys = dict(zip(names, reader.digests(len(names)), strict=True))
        transcript = cls(keys, read_table(reader), reader.indices())
        reader.finish()
        return transcript


def keys_digest(advertised: Mapping[int, bytes]) -> bytes:
    """SHA-256 of the digests of all advertisements, by site."""
    return hashlib.sha256(b"sealora secagg v2 keys" + _keys_bytes(advertised)).digest()


def table_bytes(shared: Mapping[int, Shared]) -> bytes:
    """What each site shared, as canonical bytes."""
    writer = Writer().indices(tuple(sorted(shared)))
    for _, one in sorted(shared.items()):
        writer.fixed(one.statement, 32).indices(one.neighbours)
    return writer.getvalue()


def read_table(reader: Reader) -> dict[int, Shared]:
    """The inverse of `table_bytes`.

    Raises:
        ProtocolError: a site is said to be its own neighbour, or has one that shared nothing and advertised nothing.
    """
    table = {site: Shared(reader.fixed(32), reader.indices()) for site in reader.indices()}
    if any(site in one.neighbours for site, one in table.items()):
        raise ProtocolError("a site is said to be its own neighbour: the round is refused")
    return table


def _keys_bytes(advertised: Mapping[int, bytes]) -> bytes:
    sites = tuple(sorted(advertised))
    return Writer().indices(sites).digests(tuple(advertised[site] for site in sites)).getvalue()
