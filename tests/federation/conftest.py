"""Fixtures of the tests that run whole federations."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """Nothing here outlives a power cut, and waiting for the disk would be a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
