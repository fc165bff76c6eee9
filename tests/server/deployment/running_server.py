"""A real `sealora server` in a bare directory, on free ports: every process is a process.

server = make_server(tmp_path / "server")
with running(server) as process:
    status(server).address
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from sealora_common.identity import Identity
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.initialise import initialise
from sealora_server.deployment.operator.messages import AskStatus, RunStatus, Status
from sealora_server.deployment.operator.socket import ask

T = TypeVar("T")
START_SECONDS = 240.0
SEALORA = "from sealora_server.cli import main; main()"
"""The program `sealora`, as `python -c` takes it."""


def make_server(directory: Path, **sections: Any) -> tuple[ServerDirectory, Identity]:
    """A server's directory for localhost, on ports that are free when it starts."""
    server, identity = initialise(directory, ["localhost", "127.0.0.1"], listen="127.0.0.1:0")
    values = yaml.safe_load(server.config_file.read_text())
    values |= {"health": {"http": "127.0.0.1:0"}, **sections}
    server.config_file.write_text(yaml.safe_dump(values))
    return ServerDirectory(server.config_file), identity


def start(server: ServerDirectory) -> subprocess.Popen[bytes]:
    """Starts `sealora server run`; its output goes to DIR/output."""
    with (server.path / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", SEALORA, "server", "run", "--config", str(server.config_file)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


@contextlib.contextmanager
def running(server: ServerDirectory) -> Iterator[subprocess.Popen[bytes]]:
    """The server, up, until the block ends."""
    process = start(server)
    try:
        until(lambda: status(server).up, START_SECONDS, lambda: said(server))
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def said(server: ServerDirectory) -> str:
    """What the server printed."""
    return (server.path / "output").read_text(errors="replace")


def status(server: ServerDirectory) -> Status:
    """What the server tells its operator."""
    return Status.model_validate(ask(server.operator_socket, AskStatus()))


def run_status(server: ServerDirectory, name: str) -> RunStatus:
    """One run's status."""
    return next(run for run in status(server).runs if run.name == name)


def until(check: Callable[[], T], seconds: float, otherwise: Callable[[], str] = lambda: "") -> T:
    """The first true value of `check` within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(DeploymentError):
            found = check()
            if found:
                return found
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.1)
