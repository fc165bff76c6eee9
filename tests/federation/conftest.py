"""Fixtures of the tests that run whole federations, and the folders whose helpers they import by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "client"), str(HERE.parent / "server" / "deployment")]


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """Nothing here outlives a power cut, and waiting for the disk would be a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
