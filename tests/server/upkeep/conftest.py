"""Fixtures of the tests of a server's upkeep, and the folder whose helpers they import by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "deployment"))


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """Nothing here outlives a power cut, and waiting for the disk would be most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
