"""Vectors over Z_2^w, and their packing to exactly w bits a word.

Words are held in the smallest of uint16 and uint32 that fits. Arithmetic wraps at the container's width, which
is a multiple of 2^w, so reducing once at the end (`& 2^w - 1`) gives the sum modulo 2^w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealora_common.secagg.errors import ProtocolError

Words = NDArray[Any]  # uint16 or uint32, shape (length,)


@dataclass(frozen=True)
class Segment:
    """A run of `length` words of `bits` bits each (12 to 32)."""

    length: int
    bits: int

    def __post_init__(self) -> None:
        if not (0 <= self.length < 2**40 and 12 <= self.bits <= 32):
            raise ValueError(f"Expected length < 2^40 and 12 <= bits <= 32, got {self}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Little-endian container of one word."""
        return np.dtype("<u2") if self.bits <= 16 else np.dtype("<u4")

    @property
    def modulus_mask(self) -> int:
        """2^bits - 1."""
        return (1 << self.bits) - 1

    @property
    def packed_bytes(self) -> int:
        """Bytes on the wire."""
        return (self.length * self.bits + 7) // 8


@dataclass
class RingVector:
    """A vector over the rings of its segments. Mutable: masks are added in place."""

    segments: tuple[Segment, ...]
    words: tuple[Words, ...]

    def __post_init__(self) -> None:
        for segment, words in zip(self.segments, self.words, strict=True):
            if words.shape != (segment.length,) or words.dtype != segment.dtype:
                raise ValueError(
                    f"Expected {segment.dtype} of shape ({segment.length},), got {words.dtype} {words.shape}"
                )

    @classmethod
    def zeros(cls, segments: tuple[Segment, ...]) -> RingVector:
        """The zero vector."""
        return cls(segments, tuple(np.zeros(segment.length, dtype=segment.dtype) for segment in segments))

    def add_(self, other: RingVector) -> None:
        """Adds `other` in place, modulo the containers' widths."""
        for mine, theirs in zip(self.words, other.words, strict=True):
            np.add(mine, theirs, out=mine)

    def reduce_(self) -> None:
        """Reduces every word modulo 2^bits, in place."""
        for segment, words in zip(self.segments, self.words, strict=True):
            if segment.bits != segment.dtype.itemsize * 8:
                np.bitwise_and(words, words.dtype.type(segment.modulus_mask), out=words)

    def pack(self) -> bytes:
        """The vector at exactly `bits` bits a word, least significant bit first, each segment padded to a byte."""
        self.reduce_()
        return b"".join(pack(words, segment.bits) for segment, words in zip(self.segments, self.words, strict=True))

    @classmethod
    def unpack(cls, content: bytes, segments: tuple[Segment, ...]) -> RingVector:
        """The inverse of `pack`.

        Raises:
            ProtocolError: `content` has another length than the segments need, or bits set past the last word.
        """
        if len(content) != sum(segment.packed_bytes for segment in segments):
            raise ProtocolError("a masked vector has the wrong length: it was refused")
        words = []
        start = 0
        for segment in segments:
            piece = memoryview(content)[start : start + segment.packed_bytes]
            spare = 8 * segment.packed_bytes - segment.length * segment.bits
            if spare and piece[-1] >> (8 - spare):
                raise ProtocolError("a masked vector has bits set past its last word: it was refused")
            words.append(unpack(piece, segment))
            start += segment.packed_bytes
        return cls(segments, tuple(words))


def pack(words: Words, bits: int) -> bytes:
    """Packs `words` (each below 2^bits) to ceil(len * bits / 8) bytes, least significant bit first."""
    if bits == words.dtype.itemsize * 8:
        return words.tobytes()
    groups = _grouped(words)
    # Eight words of `bits` bits fill exactly `bits` bytes, so every group packs alike.
    packed = np.zeros((len(groups), bits), dtype=np.uint8)
    for position in range(8):
        byte, shift = divmod(position * bits, 8)
        value = groups[:, position].astype(np.uint64) << np.uint64(shift)
        for offset in range((shift + bits + 7) // 8):
            packed[:, byte + offset] |= ((value >> np.uint64(8 * offset)) & np.uint64(0xFF)).astype(np.uint8)
    return packed.tobytes()[: (len(words) * bits + 7) // 8]


def unpack(content: memoryview | bytes, segment: Segment) -> Words:
    """The inverse of `pack` for one segment; returns a fresh, writable array."""
    bits = segment.bits
    if bits == segment.dtype.itemsize * 8:
        return np.frombuffer(content, dtype=segment.dtype).copy()
    count = -(-segment.length // 8)
    padded = np.zeros(count * bits, dtype=np.uint8)
    padded[: len(content)] = np.frombuffer(content, dtype=np.uint8)
    packed = padded.reshape(count, bits)
    words = np.empty((count, 8), dtype=segment.dtype)
    for position in range(8):
        byte, shift = divmod(position * bits, 8)
        value = np.zeros(count, dtype=np.uint64)
        for offset in range((shift + bits + 7) // 8):
            value |= packed[:, byte + offset].astype(np.uint64) << np.uint64(8 * offset)
        words[:, position] = (value >> np.uint64(shift)) & np.uint64(segment.modulus_mask)
    return words.reshape(-1)[: segment.length].copy()


def _grouped(words: Words) -> Words:
    count = -(-len(words) // 8)
    padded = np.zeros(count * 8, dtype=words.dtype)
    padded[: len(words)] = words
    return padded.reshape(count, 8)
