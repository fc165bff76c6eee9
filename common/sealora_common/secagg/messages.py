"""The messages of the protocol, from site to server signed, as canonical bytes.

Every signed message is `magic, version, kind, terms digest, sender, body, signature`; the signature covers all
that comes before it. Messages from the server to a site carry other sites' signed messages and need no
signature of the server's: a site takes nothing on its word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from sealora_common.identity import SIGNATURE_BYTES, Identity, verify
from sealora_common.roster import Roster
from sealora_common.secagg.errors import ProtocolError
from sealora_common.secagg.keys import KEY_BYTES
from sealora_common.secagg.terms import VERSION, RoundTerms
from sealora_common.secagg.wire import Reader, Writer

_MAGIC = b"SLRA"
_HEADER_BYTES = 4 + 1 + 1 + 32 + 2
_STATEMENT_BYTES = _HEADER_BYTES + 32 + 32 + SIGNATURE_BYTES
_CIPHERTEXT_LIMIT = 2 + 32 + 32 + 2 + 2 + 2 * 1000 + 16
_SIGNED_AS = b"sealora secagg message v1\n"


class Kind(IntEnum):
    """The stage a signed message belongs to."""

    ADVERTISE = 1
    SHARE = 2
    MASK = 3
    CONFIRM = 4
    OPEN = 5


class ShareKind(IntEnum):
    """Which secret of a peer a share belongs to."""

    SELF_MASK = 1
    MASK_KEY = 2


def sign(kind: Kind, body: bytes, terms: RoundTerms, identity: Identity, index: int) -> bytes:
    """Frames and signs `body`."""
    header = Writer().fixed(_MAGIC, 4).unsigned(VERSION, 1).unsigned(kind, 1)
    framed = header.fixed(terms.digest, 32).unsigned(index, 2).getvalue() + body
    return framed + identity.sign(_SIGNED_AS + framed)


def open_signed(message: bytes, kind: Kind, terms: RoundTerms, roster: Roster) -> tuple[int, bytes]:
    """Checks a signed message and returns the sender's index and the body.

    Raises:
        ProtocolError: it is malformed, of another kind, version or round, or not signed by a site of the roster.
    """
    if len(message) < _HEADER_BYTES + SIGNATURE_BYTES:
        raise ProtocolError("a message of the sealing protocol is cut short: it was refused")
    framed, signature = message[:-SIGNATURE_BYTES], message[-SIGNATURE_BYTES:]
    reader = Reader(framed[:_HEADER_BYTES])
    expected = (_MAGIC, VERSION, kind, terms.digest)
    if (reader.fixed(4), reader.unsigned(1), reader.unsigned(1), reader.fixed(32)) != expected:
        raise ProtocolError(
            f"a {kind.name.lower()} message is not of this round: it was refused "
            "(recipe, roster, order and version must be the same everywhere)"
        )
    sender = reader.unsigned(2)
    if sender >= len(roster) or not verify(roster.public_key(sender), signature, _SIGNED_AS + framed):
        raise ProtocolError(f"a {kind.name.lower()} message is not signed by a site of the roster: it was refused")
    return sender, framed[_HEADER_BYTES:]


@dataclass(frozen=True)
class Advertisement:
    """A site's public keys of the round: one to encrypt shares to it, one to agree on masks with it."""

    share_public: bytes
    mask_public: bytes

    def to_bytes(self) -> bytes:
        return Writer().fixed(self.share_public, KEY_BYTES).fixed(self.mask_public, KEY_BYTES).getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Advertisement:
        reader = Reader(body)
        message = cls(reader.fixed(KEY_BYTES), reader.fixed(KEY_BYTES))
        reader.finish()
        return message


@dataclass(frozen=True)
class SharePair:
    """What one site holds of another.

    Attributes:
        point: the evaluation point of both shares.
        self_mask: share of the owner's self-mask seed.
        mask_key: share of the owner's mask key.
        threshold: how many shares restore either.
        neighbours: the sites the owner drew, its holders besides itself. Told to each of them under encryption, so
            that they can check that enough of them survive before they open.
    """

    point: int
    self_mask: bytes
    mask_key: bytes
    threshold: int
    neighbours: tuple[int, ...]

    def to_bytes(self) -> bytes:
        writer = Writer().unsigned(self.point, 2).fixed(self.self_mask, 32).fixed(self.mask_key, 32)
        return writer.unsigned(self.threshold, 2).indices(self.neighbours).getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> SharePair:
        reader = Reader(content)
        pair = cls(reader.unsigned(2), reader.fixed(32), reader.fixed(32), reader.unsigned(2), reader.indices())
        reader.finish()
        return pair


@dataclass(frozen=True)
class Envelopes:
    """Encrypted shares by peer: from one site to each recipient, or to one site from each sender."""

    ciphertexts: dict[int, bytes]

    def to_bytes(self) -> bytes:
        peers = tuple(sorted(self.ciphertexts))
        writer = Writer().indices(peers)
        for peer in peers:
            writer.variable(self.ciphertexts[peer])
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Envelopes:
        reader = Reader(body)
        message = cls({peer: reader.variable(_CIPHERTEXT_LIMIT) for peer in reader.indices()})
        reader.finish()
        return message


@dataclass(frozen=True)
class MaskRequest:
    """What the server tells a site before it masks: who shared, and the shares meant for it."""

    sharers: tuple[int, ...]
    envelopes: Envelopes

    def to_bytes(self) -> bytes:
        return Writer().indices(self.sharers).getvalue() + self.envelopes.to_bytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> MaskRequest:
        sharers = Reader(content).indices()
        return cls(sharers, Envelopes.from_bytes(content[2 + 2 * len(sharers) :]))


@dataclass(frozen=True)
class MaskStatement:
    """What a site signs with its masked vector: under which transcript it masked, and the vector's digest.

    The statements go to all survivors, so that every site knows that the others masked under the same keys and the
    same set of sharers.
    """

    transcript: bytes
    vector_digest: bytes

    def to_bytes(self) -> bytes:
        return self.transcript + self.vector_digest

    @classmethod
    def from_bytes(cls, body: bytes) -> MaskStatement:
        reader = Reader(body)
        statement = cls(reader.fixed(32), reader.fixed(32))
        reader.finish()
        return statement


def split_masked(message: bytes) -> tuple[bytes, bytes]:
    """Parts a masked message into the signed statement and the packed vector."""
    return message[:_STATEMENT_BYTES], message[_STATEMENT_BYTES:]


def transcript_digest(advertised: Mapping[int, Advertisement], sharers: tuple[int, ...]) -> bytes:
    """SHA-256 of what all sites must have seen alike before they open: every key of the round, and who shared.

    The keys are fresh in every session, so what a site signs under the digest holds in that session alone, also
    where a server gives the same order twice and the terms are the same.
    """
    writer = Writer().indices(tuple(sorted(advertised)))
    for _, advertisement in sorted(advertised.items()):
        writer.fixed(advertisement.to_bytes(), 2 * KEY_BYTES)
    return hashlib.sha256(b"sealora secagg transcript" + writer.indices(sharers).getvalue()).digest()


@dataclass(frozen=True)
class Survivors:
    """The sites whose masked vectors the server holds, under one transcript."""

    transcript: bytes
    indices: tuple[int, ...]

    def to_bytes(self) -> bytes:
        return Writer().fixed(self.transcript, 32).indices(self.indices).getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Survivors:
        reader = Reader(body)
        message = cls(reader.fixed(32), reader.indices())
        reader.finish()
        return message


@dataclass(frozen=True)
class Opening:
    """For every peer, one share: of its self-mask if it survived, of its mask key if it dropped out."""

    shares: dict[int, tuple[ShareKind, int, bytes]]

    def to_bytes(self) -> bytes:
        peers = tuple(sorted(self.shares))
        writer = Writer().indices(peers)
        for peer in peers:
            kind, point, share = self.shares[peer]
            writer.unsigned(kind, 1).unsigned(point, 2).fixed(share, 32)
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Opening:
        reader = Reader(body)
        shares = {}
        for peer in reader.indices():
            kind = reader.unsigned(1)
            if kind not in (ShareKind.SELF_MASK, ShareKind.MASK_KEY):
                raise ProtocolError("an opening names an unknown kind of share: it was refused")
            shares[peer] = (ShareKind(kind), reader.unsigned(2), reader.fixed(32))
        reader.finish()
        return cls(shares)


def bundle(messages: list[bytes]) -> bytes:
    """Several signed messages as one byte string."""
    writer = Writer().unsigned(len(messages), 2)
    for message in messages:
        writer.variable(message)
    return writer.getvalue()


def unbundle(content: bytes, *, limit: int, message_limit: int) -> list[bytes]:
    """The inverse of `bundle`, for at most `limit` messages of at most `message_limit` bytes each.

    Raises:
        ProtocolError: there are more, they are longer, or bytes are left over.
    """
    reader = Reader(content)
    count = reader.unsigned(2)
    if count > limit:
        raise ProtocolError("a bundle holds more messages than there are sites: it was refused")
    messages = [reader.variable(message_limit) for _ in range(count)]
    reader.finish()
    return messages
