"""Mask streams: AES-256 in counter mode under a key that is used once (NIST SP 800-38A, section 6.5).

The stream is the one that GCM encrypts with under a nonce of zeros (NIST SP 800-38D, section 7.1): counter blocks from
2 on. It is taken from OpenSSL's GCM, which runs twice as fast as its plain counter mode where the processor has the
vector instructions, and as fast elsewhere; the tag is never computed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from sealora_common.secagg.ring import RingVector

# Three blocks of this size fit a core's L2 cache; smaller ones make threads wait for each other.
_BLOCK_BYTES = 1 << 18
# Streams open at a time: each holds about a kilobyte of cipher state, and a server may have thousands to take off.
_STREAMS = 64

Batch = tuple[Sequence[bytes], Sequence[bytes]]
"""Keys of streams to add, and of streams to subtract."""


def apply_masks(vector: RingVector, plus: Sequence[bytes], minus: Sequence[bytes]) -> None:
    """Adds the mask streams of the keys in `plus`, and subtracts those in `minus`, in place.

    Args:
        vector: the vector to mask. Each segment takes its words from a stream in turn, little-endian, one
            container a word.
        plus: 32-byte keys; each must be unique to this vector (the counter always starts at 2).
        minus: likewise.
    """
    _apply(vector, plus, minus, threading.Lock())


def apply_batches(vector: RingVector, batches: Iterable[Batch], *, threads: int) -> None:
    """Applies masks while others are still being worked out.

    Args:
        vector: as in `apply_masks`; of no use if this raises.
        batches: keys to add and keys to subtract, as they come.
        threads: how many work at a time. Each needs a block of its own, and no vector.

    Raises:
        Exception: whatever `batches` raises.
    """
    lock = threading.Lock()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(_apply, vector, plus, minus, lock) for plus, minus in batches]:
            done.result()


def _apply(vector: RingVector, plus: Sequence[bytes], minus: Sequence[bytes], lock: threading.Lock) -> None:
    for first in range(0, max(len(plus), len(minus)), _STREAMS):
        _apply_some(vector, plus[first : first + _STREAMS], minus[first : first + _STREAMS], lock)


def _apply_some(vector: RingVector, plus: Sequence[bytes], minus: Sequence[bytes], lock: threading.Lock) -> None:
    added = [_stream(key) for key in plus]
    subtracted = [_stream(key) for key in minus]
    zeros = memoryview(bytes(_BLOCK_BYTES))
    buffer = np.empty(_BLOCK_BYTES + 15, dtype=np.uint8)  # update_into asks for a cipher block to spare
    view = buffer.data
    for segment, words in zip(vector.segments, vector.words, strict=True):
        size = segment.dtype.itemsize
        for start in range(0, segment.length, _BLOCK_BYTES // size):
            block = words[start : start + _BLOCK_BYTES // size]
            count = len(block) * size
            stream = buffer[:count].view(segment.dtype)
            total = np.zeros_like(block)
            for cipher in added:
                cipher.update_into(zeros[:count], view)
                np.add(total, stream, out=total)
            for cipher in subtracted:
                cipher.update_into(zeros[:count], view)
                np.subtract(total, stream, out=total)
            with lock:
                np.add(block, total, out=block)


def _stream(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES256(key), modes.GCM(bytes(12))).encryptor()
