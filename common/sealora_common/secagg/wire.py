"""Canonical bytes for protocol messages: fixed-width big-endian integers and length-prefixed strings.

The notation is that of TLS (RFC 8446, section 3): every value has exactly one encoding, and a reader refuses
anything that is too short, too long or longer than its stated limit before it allocates memory for it.
"""

from __future__ import annotations

from itertools import pairwise

from sealora_common.secagg.errors import ProtocolError


class Writer:
    """Builds a byte string field by field."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def unsigned(self, value: int, width: int) -> Writer:
        """Appends `value` as an unsigned integer of `width` bytes."""
        self._parts.append(value.to_bytes(width, "big"))
        return self

    def fixed(self, value: bytes, length: int) -> Writer:
        """Appends exactly `length` bytes.

        Raises:
            ValueError: `value` has another length.
        """
        if len(value) != length:
            raise ValueError(f"Expected {length} bytes, got {len(value)}")
        self._parts.append(value)
        return self

    def variable(self, value: bytes) -> Writer:
        """Appends a 4-byte length and `value`."""
        self._parts.append(len(value).to_bytes(4, "big"))
        self._parts.append(value)
        return self

    def indices(self, values: tuple[int, ...]) -> Writer:
        """Appends a 2-byte count and 2-byte roster indices."""
        self.unsigned(len(values), 2)
        for value in values:
            self.unsigned(value, 2)
        return self

    def digests(self, values: tuple[bytes, ...]) -> Writer:
        """Appends 32-byte digests, without their count."""
        for value in values:
            self.fixed(value, 32)
        return self

    def getvalue(self) -> bytes:
        """The bytes so far."""
        return b"".join(self._parts)


class Reader:
    """Takes a byte string apart, refusing anything but the one canonical encoding."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._position = 0

    def unsigned(self, width: int) -> int:
        """Takes an unsigned integer of `width` bytes."""
        return int.from_bytes(self._take(width), "big")

    def fixed(self, length: int) -> bytes:
        """Takes exactly `length` bytes."""
        return bytes(self._take(length))

    def variable(self, limit: int) -> bytes:
        """Takes a length-prefixed string of at most `limit` bytes."""
        length = self.unsigned(4)
        if length > limit:
            raise ProtocolError("a message of the sealing protocol is longer than it may be: it was refused")
        return bytes(self._take(length))

    def indices(self) -> tuple[int, ...]:
        """Takes a strictly increasing list of roster indices."""
        count = self.unsigned(2)
        values = tuple(self.unsigned(2) for _ in range(count))
        if any(left >= right for left, right in pairwise(values)):
            raise ProtocolError("a message of the sealing protocol lists sites out of order: it was refused")
        return values

    def digests(self, count: int) -> tuple[bytes, ...]:
        """Takes `count` 32-byte digests."""
        return tuple(self.fixed(32) for _ in range(count))

    def finish(self) -> None:
        """Refuses trailing bytes."""
        if self._position != len(self._content):
            raise ProtocolError("a message of the sealing protocol has trailing bytes: it was refused")

    def _take(self, count: int) -> memoryview:
        end = self._position + count
        if end > len(self._content):
            raise ProtocolError("a message of the sealing protocol is cut short: it was refused")
        piece = self._content[self._position : end]
        self._position = end
        return piece
