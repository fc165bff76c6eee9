"""A server's operations, for the tests of its runs."""

from __future__ import annotations

from typing import Any

import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.runs import managed as runs

from run_host import Bench, FakeProcess, FakeSuperLink


@pytest.fixture
def bench(tmp_path, monkeypatch):
    server = ServerDirectory(tmp_path / "server.yaml")
    server.config_file.write_text("hosts: [localhost]\n")
    server.runs.mkdir()
    Identity.create("server", SystemEntropy()).save(server.identity)
    processes: list[FakeProcess] = []

    async def start(spec: Any, lines: Any) -> FakeProcess:
        processes.append(FakeProcess(spec))
        return processes[-1]

    monkeypatch.setattr(runs.RunningProcess, "start", start)
    monkeypatch.setattr("sealora_server.deployment.processes.restarts._FIRST_DELAY", 0.001)
    return Bench(server, FakeSuperLink(), processes)
