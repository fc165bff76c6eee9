"""What a TLS handshake agreed on, and whether that protects recorded traffic against a later quantum computer.

Nothing in Sealora names the groups of a key exchange: OpenSSL's own list stands, on both sides. From OpenSSL 3.5 on the
hybrid X25519MLKEM768 is first in it; where it is missing, on this side or the other, the classical groups go on as
before. A list of ours would fail where OpenSSL does not know one of its names, and would overrule the machine's
`openssl.cnf`.
"""

from __future__ import annotations

import io
import ssl
from dataclasses import dataclass

HYBRID = "X25519MLKEM768"

_GROUPS = {
    23: "secp256r1",
    24: "secp384r1",
    25: "secp521r1",
    29: "X25519",
    30: "X448",
    256: "ffdhe2048",
    257: "ffdhe3072",
}
_POST_QUANTUM_GROUPS = {
    512: "MLKEM512",
    513: "MLKEM768",
    514: "MLKEM1024",
    4587: "SecP256r1MLKEM768",
    4588: HYBRID,
    4589: "SecP384r1MLKEM1024",
}
"""Both by their numbers in IANA's registry "TLS Supported Groups"."""
_POST_QUANTUM = frozenset(_POST_QUANTUM_GROUPS.values())
_KNOWN = _GROUPS | _POST_QUANTUM_GROUPS

_HANDSHAKE = 22
_SERVER_HELLO = 2
_SERVER_KEY_EXCHANGE = 12
_KEY_SHARE = 51
_NAMED_CURVE = b"\x03"


@dataclass(frozen=True)
class Agreed:
    """What both sides agreed on.

    Attributes:
        version: such as TLSv1.3.
        cipher: its name in OpenSSL.
        group: of the key exchange; None if it is not known.
    """

    version: str
    cipher: str
    group: str | None

    @property
    def is_quantum_safe(self) -> bool | None:
        """Whether a later quantum computer leaves recorded traffic unread; None if that is not known."""
        if self.group in _POST_QUANTUM:
            return True
        if self.version != "TLSv1.3" or self.group in _GROUPS.values():  # no such group was ever made for TLS 1.2
            return False
        return None

    def sentence(self) -> str:
        """All of it on one line."""
        told = f"{self.version}, {self.cipher}, key exchange {self.group or 'not known'}: "
        if self.is_quantum_safe:
            return told + "recorded traffic is protected against a later quantum computer"
        if self.is_quantum_safe is None:
            return told + "so it is not known whether recorded traffic is protected against a later quantum computer"
        return (
            told + "recorded traffic is not protected against a later quantum computer; "
            f"{HYBRID} would protect it, with TLS 1.3 and OpenSSL 3.5 or later on both sides (here: {_openssl()})"
        )


class HandshakeWatch:
    """Reads the group from the server's part of the handshakes that are made with a client's context.

    Python tells no group before 3.15. What the server says of it is never encrypted, and Python shows each message to
    `_msg_callback`, which is its hook for debugging. In a Python without that hook the group is not known.

    Args:
        context: the client's. One watch a context: a second one would be the only one that hears.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._group: int | None = None
        context._msg_callback = self._hear  # type: ignore[attr-defined]

    def agreed(self, tls: ssl.SSLSocket | ssl.SSLObject) -> Agreed:
        """What the last handshake, from which `tls` came, agreed on."""
        cipher = tls.cipher()
        group = None if self._group is None else _KNOWN.get(self._group, f"group {self._group}")
        return Agreed(tls.version() or "no TLS", cipher[0] if cipher else "no cipher", group)

    def _hear(self, conn: object, direction: str, version: int, content: int, kind: int, message: bytes) -> None:
        # An exception from here would break the connection, and OpenSSL has not yet looked at the message.
        if direction != "read" or content != _HANDSHAKE:
            return
        if kind == _SERVER_HELLO:
            self._group = _shared_group(message)
        elif kind == _SERVER_KEY_EXCHANGE and message[4:5] == _NAMED_CURVE:
            self._group = int.from_bytes(message[5:7])  # RFC 8422, section 5.4


def _openssl() -> str:
    """Name and version of the library that this Python uses."""
    return " ".join(ssl.OPENSSL_VERSION.split()[:2])


def _shared_group(hello: bytes) -> int | None:
    """The group of a ServerHello's key share (RFC 8446, section 4.1.3); None if it has none, as in TLS 1.2.

    Whatever the bytes are, nothing is raised.
    """
    reader = io.BytesIO(hello[4 + 2 + 32 :])  # after the message's head, the old version, and the random bytes
    reader.read(int.from_bytes(reader.read(1)))  # the session's id
    reader.read(2 + 1 + 2)  # cipher, compression, length of all extensions
    while head := reader.read(4):
        content = reader.read(int.from_bytes(head[2:]))
        if int.from_bytes(head[:2]) == _KEY_SHARE:
            return int.from_bytes(content[:2])
    return None
