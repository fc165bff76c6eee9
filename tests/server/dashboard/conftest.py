"""Lets the tests of the dashboard import `acting`, and what the deployment's tests import, by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_server.deployment.directory import ServerDirectory

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "deployment"))

from run_host import Bench, FakeSuperLink


@pytest.fixture
def bench(tmp_path):
    """A server's directory, on whose operations `acting` stands."""
    server = ServerDirectory(tmp_path / "server.yaml")
    server.runs.mkdir()
    Identity.create("server", SystemEntropy()).save(server.identity)
    return Bench(server, FakeSuperLink())
