"""Fixtures of the seal's tests."""

from __future__ import annotations

import pytest

import sealora_common.secagg.messages as messages_module
from sealora_common.identity import verify


@pytest.fixture
def _verify_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which every site verifies the same signatures many times over: it is enough to compute that once."""
    known: dict[tuple[bytes, bytes, bytes], bool] = {}

    def remembered(public_key: bytes, signature: bytes, message: bytes) -> bool:
        asked = (public_key, signature, message)
        if asked not in known:
            known[asked] = verify(public_key, signature, message)
        return known[asked]

    monkeypatch.setattr(messages_module, "verify", remembered)
