"""The folder's helpers, and those of the folders around it, can be imported by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_server.deployment.directory import ServerDirectory

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "deployment")]


@pytest.fixture
def bench(tmp_path):
    """A server's directory, on whose operations `acting` stands."""
    from run_host import Bench, FakeSuperLink

    server = ServerDirectory(tmp_path / "server.yaml")
    server.runs.mkdir()
    Identity.create("server", SystemEntropy()).save(server.identity)
    return Bench(server, FakeSuperLink())
