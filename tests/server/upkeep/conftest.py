"""Fixtures of the tests of a server's upkeep, and the folder whose helpers they import by name."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "deployment")]


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch):
    from sealora_common.archive import locked

    monkeypatch.setattr(locked, "_COST", 2**4)


@pytest.fixture(scope="session")
def old(tmp_path_factory):
    from old_server import OldServer

    return OldServer(tmp_path_factory.mktemp("old") / "server")


@pytest.fixture
def server(old, tmp_path):
    """A copy of its directory."""
    from old_server import server_at

    shutil.copytree(old.server.path, tmp_path / "server", copy_function=shutil.copy2)
    return server_at(tmp_path / "server")
