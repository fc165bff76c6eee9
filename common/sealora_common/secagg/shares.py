"""Shamir's secret sharing (Shamir 1979) of 32-byte secrets, as two 16-byte halves over GF(2^128)."""

from __future__ import annotations

from collections.abc import Mapping

from Crypto.Protocol.SecretSharing import Shamir

from sealora_common.secagg.errors import ProtocolError

SECRET_BYTES = 32


def split(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """Splits a 32-byte secret into `count` shares of 32 bytes, any `threshold` of which restore it.

    Returns:
        The shares for the evaluation points 1, 2, ..., count.
    """
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= count:
        raise ValueError(f"Expected 32 bytes and 1 <= threshold <= count, got {len(secret)}, {threshold=}, {count=}")
    halves = [Shamir.split(threshold, count, secret[start : start + 16], ssss=False) for start in (0, 16)]
    return [low[1] + high[1] for low, high in zip(*halves, strict=True)]


def combine(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """Restores a secret from at least `threshold` shares, keyed by evaluation point.

    Raises:
        ProtocolError: there are too few shares.
    """
    if len(shares) < threshold:
        raise ProtocolError(f"{len(shares)} shares cannot restore a secret that needs {threshold}")
    chosen = sorted(shares.items())[:threshold]
    halves = [
        Shamir.combine([(point, share[start : start + 16]) for point, share in chosen], ssss=False) for start in (0, 16)
    ]
    return bytes(halves[0]) + bytes(halves[1])
