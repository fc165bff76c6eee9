"""The signed messages of the protocol: one frame for all, whose body depends on the kind (see `bodies`).

Every signed message is `magic, version, kind, terms digest, sender, body, signature`; the signature covers all
that comes before it. Messages from the server to a site carry other sites' signed messages and need no
signature of the server's: a site takes nothing on its word.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

from sealora_common.identity import SIGNATURE_BYTES, Identity, verify
from sealora_common.roster import Roster
from sealora_common.secagg.errors import ProtocolError
from sealora_common.secagg.terms import VERSION, RoundTerms
from sealora_common.secagg.wire import Reader, Writer

_MAGIC = b"SLRA"
_HEADER_BYTES = 4 + 1 + 1 + 32 + 2
_SIGNED_AS = b"sealora secagg message v2\n"


class Kind(IntEnum):
    """The stage a signed message belongs to."""

    ADVERTISE = 1
    SHARE = 2
    CHECK = 3
    DISCLOSE = 4
    MASK = 5
    CONFIRM = 6
    OPEN = 7


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


def content_digest(message: bytes) -> bytes:
    """SHA-256 of what a signed message says, without its signature: one content may be signed more than once."""
    return hashlib.sha256(message[:-SIGNATURE_BYTES]).digest()


def signed_bytes(body_bytes: int) -> int:
    """Length of a signed message with a body of `body_bytes`."""
    return _HEADER_BYTES + body_bytes + SIGNATURE_BYTES


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
    messages = read_bundle(reader, limit=limit, message_limit=message_limit)
    reader.finish()
    return messages


def read_bundle(reader: Reader, *, limit: int, message_limit: int) -> list[bytes]:
    """Takes a bundle off a reader, with the bounds of `unbundle`."""
    count = reader.unsigned(2)
    if count > limit:
        raise ProtocolError("a bundle holds more messages than there are sites: it was refused")
    return [reader.variable(message_limit) for _ in range(count)]
