"""Canonical JSON: one value, one byte string, so that both sides hash the same thing."""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> bytes:
    """Encodes `value` as UTF-8 JSON with sorted keys, no spaces and no NaN (the subset of RFC 8785 used here).

    Raises:
        ValueError: `value` holds a NaN or an infinity.
        TypeError: `value` holds something JSON has no form for.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def digest(content: bytes) -> str:
    """SHA-256 of `content` in lower-case hex (FIPS 180-4)."""
    return hashlib.sha256(content).hexdigest()
