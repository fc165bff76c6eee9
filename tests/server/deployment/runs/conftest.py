"""A server's operations, for the tests of its runs."""

from __future__ import annotations

import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_server.deployment.directory import ServerDirectory

from run_host import Bench, FakeSuperLink


@pytest.fixture
def bench(tmp_path):
    server = ServerDirectory(tmp_path / "server.yaml")
    server.config_file.write_text("hosts: [localhost]\n")
    server.runs.mkdir()
    Identity.create("server", SystemEntropy()).save(server.identity)
    return Bench(server, FakeSuperLink())
