"""The bodies of signed messages, and what the server relays, as canonical bytes. Every field has a fixed place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from sealora_common.secagg import keys
from sealora_common.secagg.errors import ProtocolError
from sealora_common.secagg.messages import bundle, read_bundle, signed_bytes
from sealora_common.secagg.shares import SECRET_BYTES
from sealora_common.secagg.transcript import Shared, read_table, table_bytes
from sealora_common.secagg.wire import Reader, Writer

_SHARES_BYTES = 2 * SECRET_BYTES + keys.SEALED_BYTES
_CONTRIBUTION_BYTES = keys.SEED_BYTES + keys.SEALED_BYTES
ENVELOPE_BYTES = _SHARES_BYTES + _CONTRIBUTION_BYTES
MOST_SITES = 1000
"""As many as a roster may list."""
STATEMENT_LIMIT = signed_bytes(32 + 32 + 2 + 2 * MOST_SITES + 64 * MOST_SITES + 64 * MOST_SITES)
ADVERTISEMENT_LIMIT = signed_bytes(2 * keys.PUBLIC_KEY_BYTES)
CHECK_LIMIT = signed_bytes(32 + 2 + 2 * MOST_SITES)
DISCLOSURE_LIMIT = signed_bytes(32 + 2 + (2 + 96) * MOST_SITES)
MASK_STATEMENT_BYTES = signed_bytes(64)
SURVIVORS_LIMIT = signed_bytes(32 + 2 + 2 * MOST_SITES)


class ShareKind(IntEnum):
    """Which secret of a peer a share belongs to."""

    SELF_MASK = 1
    MASK_SEED = 2


@dataclass(frozen=True)
class Advertisement:
    """A site's public keys of the round: one to send it shares, one to send it contributions to masks."""

    share_public: bytes
    mask_public: bytes

    def to_bytes(self) -> bytes:
        length = keys.PUBLIC_KEY_BYTES
        return Writer().fixed(self.share_public, length).fixed(self.mask_public, length).getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Advertisement:
        reader = Reader(body)
        message = cls(reader.fixed(keys.PUBLIC_KEY_BYTES), reader.fixed(keys.PUBLIC_KEY_BYTES))
        reader.finish()
        return message

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.to_bytes()).digest()

    @property
    def is_usable(self) -> bool:
        """Whether both keys are such that secrets come of them (see `keys.is_usable`)."""
        return keys.is_usable(self.share_public) and keys.is_usable(self.mask_public)

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The four keys, of which no other site may have any."""
        return (*keys.halves(self.share_public), *keys.halves(self.mask_public))


@dataclass(frozen=True)
class Given:
    """What a site gives to one neighbour: a share of each of its two secrets, and its contribution to their mask."""

    self_mask: bytes
    mask_seed: bytes
    contribution: bytes

    def commitments(self, owner: int, holder: int, terms_digest: bytes) -> Committed:
        """What the owner says of it in its statement."""

        def of(what: bytes, value: bytes) -> bytes:
            return keys.commitment(what, owner, holder, value, terms_digest)

        return Committed(
            of(b"self mask", self.self_mask), of(b"mask seed", self.mask_seed), of(b"contribution", self.contribution)
        )


@dataclass(frozen=True)
class Committed:
    """Commitments to what one neighbour was given."""

    self_mask: bytes
    mask_seed: bytes
    contribution: bytes


@dataclass(frozen=True)
class Envelope:
    """What one neighbour was given, sealed: the shares to its share key, the contribution to its mask key.

    Two keys, since a site that drops out has its mask key restored and with it its masks, and nothing else.
    """

    shares: bytes
    contribution: bytes

    @classmethod
    def seal(cls, given: Given, to: Advertisement, owner: int, holder: int, terms_digest: bytes) -> Envelope:
        """Seals what `owner` gives to `holder`. Raises ProtocolError if a key is unusable."""
        return cls(
            keys.seal(
                given.self_mask + given.mask_seed,
                to.share_public,
                keys.bound_to(b"shares", owner, holder, terms_digest),
            ),
            keys.seal(given.contribution, to.mask_public, keys.bound_to(b"contribution", owner, holder, terms_digest)),
        )

    def unseal(
        self, share_pair: keys.KeyPair, mask_pair: keys.KeyPair, owner: int, holder: int, terms_digest: bytes
    ) -> Given:
        """The inverse, at the holder. Raises ProtocolError if it does not open."""
        shares = share_pair.unseal(self.shares, keys.bound_to(b"shares", owner, holder, terms_digest))
        if len(shares) != 2 * SECRET_BYTES:
            raise ProtocolError("an envelope holds no shares: it was refused")
        contribution = self.unseal_contribution(mask_pair, owner, holder, terms_digest)
        return Given(shares[:SECRET_BYTES], shares[SECRET_BYTES:], contribution)

    def unseal_contribution(self, mask_pair: keys.KeyPair, owner: int, holder: int, terms_digest: bytes) -> bytes:
        """The contribution alone, which the mask key opens. Raises ProtocolError if it does not."""
        return mask_pair.unseal(self.contribution, keys.bound_to(b"contribution", owner, holder, terms_digest))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        return Writer().fixed(self.shares, _SHARES_BYTES).fixed(self.contribution, _CONTRIBUTION_BYTES).getvalue()

    @classmethod
    def read(cls, reader: Reader) -> Envelope:
        return cls(reader.fixed(_SHARES_BYTES), reader.fixed(_CONTRIBUTION_BYTES))


@dataclass(frozen=True)
class ShareStatement:
    """What a site signs about the secrets it shares: enough to find out later who was wrong.

    Attributes:
        keys_digest: of all advertised keys, as this site was told them.
        self_mask: commitment to its self-mask seed.
        neighbours: the sites it drew.
        envelopes: digest of the envelope for each neighbour, in their order.
        committed: commitments to what each neighbour was given, in their order.
    """

    keys_digest: bytes
    self_mask: bytes
    neighbours: tuple[int, ...]
    envelopes: tuple[bytes, ...]
    committed: tuple[Committed, ...]

    def of(self, neighbour: int) -> tuple[bytes, Committed]:
        """The digest of a neighbour's envelope, and what is committed to in it."""
        place = self.neighbours.index(neighbour)
        return self.envelopes[place], self.committed[place]

    def to_bytes(self) -> bytes:
        writer = Writer().fixed(self.keys_digest, 32).fixed(self.self_mask, 32).indices(self.neighbours)
        for envelope, one in zip(self.envelopes, self.committed, strict=True):
            writer.digests((envelope, one.self_mask, one.mask_seed, one.contribution))
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> ShareStatement:
        reader = Reader(body)
        keys_digest, self_mask, neighbours = reader.fixed(32), reader.fixed(32), reader.indices()
        rows = [reader.digests(4) for _ in neighbours]
        reader.finish()
        return cls(
            keys_digest,
            self_mask,
            neighbours,
            tuple(row[0] for row in rows),
            tuple(Committed(*row[1:]) for row in rows),
        )


@dataclass(frozen=True)
class ShareMessage:
    """A site's answer to the share stage: its signed statement, and the envelopes it speaks of."""

    signed: bytes
    envelopes: dict[int, Envelope]

    def to_bytes(self) -> bytes:
        writer = Writer().variable(self.signed).indices(tuple(sorted(self.envelopes)))
        for _, envelope in sorted(self.envelopes.items()):
            writer.fixed(envelope.to_bytes(), ENVELOPE_BYTES)
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> ShareMessage:
        reader = Reader(content)
        message = cls(reader.variable(STATEMENT_LIMIT), {site: Envelope.read(reader) for site in reader.indices()})
        reader.finish()
        return message


@dataclass(frozen=True)
class CheckRequest:
    """What the server tells a site before it checks: who shared and drew whom, and the envelopes meant for it."""

    table: dict[int, Shared]
    sent: dict[int, tuple[bytes, Envelope]]
    """Signed statement and envelope, by sender."""

    def to_bytes(self) -> bytes:
        return table_bytes(self.table) + self.sent_bytes(self.sent)

    @staticmethod
    def sent_bytes(sent: Mapping[int, tuple[bytes, Envelope]]) -> bytes:
        writer = Writer().indices(tuple(sorted(sent)))
        for _, (signed, envelope) in sorted(sent.items()):
            writer.variable(signed).fixed(envelope.to_bytes(), ENVELOPE_BYTES)
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> CheckRequest:
        reader = Reader(content)
        table = read_table(reader)
        sent = {site: (reader.variable(STATEMENT_LIMIT), Envelope.read(reader)) for site in reader.indices()}
        reader.finish()
        return cls(table, sent)


@dataclass(frozen=True)
class CheckStatement:
    """That a site has checked its envelopes under a transcript, and whose it could not use."""

    transcript: bytes
    complaints: tuple[int, ...]

    def to_bytes(self) -> bytes:
        return Writer().fixed(self.transcript, 32).indices(self.complaints).getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> CheckStatement:
        reader = Reader(body)
        message = cls(reader.fixed(32), reader.indices())
        reader.finish()
        return message


@dataclass(frozen=True)
class Disclosure:
    """A site's answer to complaints: what it gave to each neighbour that could not use it, in the clear.

    It tells nothing that the adversary does not know: of two honest sites none complains about the other.
    """

    transcript: bytes
    given: dict[int, Given]

    def to_bytes(self) -> bytes:
        writer = Writer().fixed(self.transcript, 32).indices(tuple(sorted(self.given)))
        for _, one in sorted(self.given.items()):
            writer.digests((one.self_mask, one.mask_seed, one.contribution))
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Disclosure:
        reader = Reader(body)
        message = cls(reader.fixed(32), {site: Given(*reader.digests(3)) for site in reader.indices()})
        reader.finish()
        return message


@dataclass(frozen=True)
class MaskRequest:
    """What the server tells a site before it masks: who has checked and goes on, and what was disclosed to it."""

    checks: list[bytes]
    disclosures: list[bytes]

    def to_bytes(self) -> bytes:
        return bundle(self.checks) + bundle(self.disclosures)

    @classmethod
    def from_bytes(cls, content: bytes, *, limit: int) -> MaskRequest:
        reader = Reader(content)
        message = cls(
            read_bundle(reader, limit=limit, message_limit=CHECK_LIMIT),
            read_bundle(reader, limit=limit, message_limit=DISCLOSURE_LIMIT),
        )
        reader.finish()
        return message


@dataclass(frozen=True)
class MaskStatement:
    """What a site signs with its masked vector: under which transcript it masked, and the vector's digest.

    The statements go to all survivors, so that every site knows that the others masked under the same keys, shares and
    set of sites.
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
    return message[:MASK_STATEMENT_BYTES], message[MASK_STATEMENT_BYTES:]


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
    """What a survivor releases: its own self-mask seed, and for every peer one share.

    Attributes:
        transcript: under which it confirmed.
        self_mask: its own seed. With it no shares of the seed are needed, but for survivors that are gone by now.
        shares: by owner, a share of its self-mask seed if it survived, of its mask seed if it dropped out.
    """

    transcript: bytes
    self_mask: bytes
    shares: dict[int, tuple[ShareKind, bytes]]

    def to_bytes(self) -> bytes:
        peers = tuple(sorted(self.shares))
        writer = Writer().fixed(self.transcript, 32).fixed(self.self_mask, 32).indices(peers)
        for peer in peers:
            kind, share = self.shares[peer]
            writer.unsigned(kind, 1).fixed(share, 32)
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Opening:
        reader = Reader(body)
        transcript, self_mask = reader.fixed(32), reader.fixed(32)
        shares = {}
        for peer in reader.indices():
            kind = reader.unsigned(1)
            if kind not in (ShareKind.SELF_MASK, ShareKind.MASK_SEED):
                raise ProtocolError("an opening names an unknown kind of share: it was refused")
            shares[peer] = (ShareKind(kind), reader.fixed(32))
        reader.finish()
        return cls(transcript, self_mask, shares)
