"""Which 32 bytes are the one encoding of a usable Ed25519 public key (RFC 8032, section 5.1.3).

A library's decoder takes several encodings of some points, and points of small order, under which one signature holds
for many messages. Keys here are compared as bytes, so only one form of a key may be one.
"""

from __future__ import annotations

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SQUARE_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)


def is_public_key(encoded: bytes) -> bool:
    """Whether `encoded` is the canonical encoding of a point of the curve whose order is not small (1, 2, 4 or 8)."""
    if len(encoded) != 32:
        return False
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= _P:
        return False
    x = _x_of(y)
    if x is None or (x == 0 and sign):
        return False
    return not _has_small_order(x, y)


def _x_of(y: int) -> int | None:
    """An x with -x^2 + y^2 = 1 + d x^2 y^2; None if there is none."""
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == u:
        return x
    if v * x * x % _P == -u % _P:
        return x * _SQUARE_ROOT_OF_MINUS_ONE % _P
    return None


def _has_small_order(x: int, y: int) -> bool:
    """Whether eight times the point is the neutral element (0, 1): three doublings in affine coordinates."""
    for _ in range(3):
        product = _D * x * x * y * y % _P
        x, y = (
            2 * x * y * pow(1 + product, -1, _P) % _P,
            (y * y + x * x) * pow(1 - product, -1, _P) % _P,
        )
    return (x, y) == (0, 1)
