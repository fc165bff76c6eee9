"""The SuperLink's real process, over its Unix sockets: nodes, runs, tokens, and who is let in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from flwr.proto.runtime_pb2 import GetNodesRequest, PullTaskInputRequest
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.processes.services import _IN_MEMORY
from sealora_server.deployment.processes.sockets import listen_unix
from sealora_server.deployment.runs.bundle import build_bundle
from sealora_server.deployment.runs.socket_grid import SocketGrid
from sealora_server.deployment.superlink.client import SuperLinkClient
from sealora_server.deployment.superlink.process import SuperLinkSettings

SECRET = bytes(range(32))
CONFIG = {"run-directory": "r1"}


class SuperLink:
    """A SuperLink's process in a directory."""

    def __init__(self, directory: Path, database: str) -> None:
        self.socket = directory / "superlink.sock"
        self.fleet = directory / "fleet.sock"
        self.database = database
        self.listeners = [listen_unix(self.socket), listen_unix(self.fleet)]
        self.process = self.start()
        self.client = SuperLinkClient(self.socket, SECRET)

    def start(self) -> subprocess.Popen[bytes]:
        descriptors = [listener.fileno() for listener in self.listeners]
        settings = SuperLinkSettings(
            supervisor=os.getpid(),
            database=self.database,
            superexec_secret=SECRET.hex(),
            superlink_socket=descriptors[0],
            fleet_socket=descriptors[1],
            limits=LimitsSection(),
            log="text",
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "sealora_server.deployment.superlink.process"],
            stdin=subprocess.PIPE,
            pass_fds=descriptors,
            env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_HOME": str(self.socket.parent)},
        )
        assert process.stdin is not None
        process.stdin.write(settings.model_dump_json().encode())
        process.stdin.close()
        return process

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)

    def start_run(self) -> tuple[int, str]:
        return self.client.start_run(*build_bundle(), CONFIG)


@pytest.fixture(scope="module")
def superlink(tmp_path_factory) -> Iterator[SuperLink]:
    started = SuperLink(tmp_path_factory.mktemp("s"), _IN_MEMORY)
    started.client.wait_until_up(60)
    yield started
    started.stop()


def key() -> bytes:
    return public_key_to_bytes(generate_private_key(SECP384R1()).public_key())


def test_sites_are_told_to_come_later_until_they_are_let_in(superlink):
    """The first test: nobody has been let in yet."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(superlink.fleet)), base_url="http://x") as site:
        assert site.post("/v1/fleet/pull-messages").status_code == 503
        superlink.client.open_fleet()
        assert site.post("/v1/fleet/pull-messages").status_code == 401
        assert site.post("/v1/control/list-nodes").status_code == 403


def test_nodes_are_registered_listed_and_withdrawn(superlink):
    first, second = key(), key()
    superlink.client.register("a", first)
    superlink.client.register("b", second)
    nodes = {node.name: node for node in superlink.client.nodes()}
    assert (nodes["a"].key, nodes["a"].registered, nodes["a"].online) == (first, True, False)
    superlink.client.unregister(nodes["a"].node_id)
    assert {node.name: node.registered for node in superlink.client.nodes()} == {"a": False, "b": True}
    with pytest.raises(
        DeploymentError, match=r"the SuperLink refused: Public key already in use: see the server's log"
    ):
        superlink.client.register("a", first)


def test_a_run_is_started_with_a_token_that_its_serverapp_may_use_once_it_runs(superlink):
    run_id, token = superlink.start_run()
    grid = SocketGrid(superlink.socket, token)
    task = grid.client.PullTaskInput(PullTaskInputRequest())
    assert task.run.run_id == run_id
    assert task.run.override_config["run-directory"].string == "r1"
    assert grid.client.GetNodes(GetNodesRequest()) is not None
    assert grid.node_sessions() == {}  # none is connected
    grid.close()
    superlink.client.end_run(run_id)


def test_a_run_gets_its_own_task_although_another_was_left_behind(superlink):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    acquire = superlink.client._runtime.AcquireTask
    superlink.client._runtime.AcquireTask = killed
    with pytest.raises(KeyboardInterrupt):
        superlink.start_run()
    superlink.client._runtime.AcquireTask = acquire
    run_id, token = superlink.start_run()
    grid = SocketGrid(superlink.socket, token)
    assert grid.client.PullTaskInput(PullTaskInputRequest()).run.run_id == run_id
    grid.close()
    superlink.client.end_run(run_id)


def test_an_ended_run_s_token_is_worth_nothing(superlink):
    run_id, token = superlink.start_run()
    for _ in range(2):
        superlink.client.end_run(run_id)  # a second time, or for a run that never was, it does nothing
    superlink.client.end_run(12345)
    grid = SocketGrid(superlink.socket, token)
    grid._retry_invoker.max_tries = 1
    grid._retry_invoker.should_giveup = lambda error: True  # Flower's own would interrupt this process
    with pytest.raises(httpx.HTTPStatusError):
        grid.client.GetNodes(GetNodesRequest())
    grid.close()


def test_without_the_secret_no_token_is_given(superlink):
    with pytest.raises(DeploymentError, match="the SuperLink refused: "):
        SuperLinkClient(superlink.socket, bytes(32)).start_run(*build_bundle(), CONFIG)
    superlink.client.end_runs()


def test_a_superlink_that_is_down_is_waited_for_and_then_reported(tmp_path):
    with listen_unix(tmp_path / "s"):
        began = time.monotonic()
        client = SuperLinkClient(tmp_path / "s", SECRET)
        with pytest.raises(DeploymentError, match="the SuperLink does not answer after 0 s: see the server's log"):
            client.wait_until_up(0.3)
        assert time.monotonic() - began < 3
    with pytest.raises(DeploymentError, match=r"the SuperLink does not answer \(ConnectError\)"):
        client.nodes()
    with pytest.raises(DeploymentError, match=r"the SuperLink does not answer"):
        client.end_run(1)


def test_requests_wait_for_a_superlink_that_is_being_started(tmp_path):
    """The supervisor holds its listening socket: between two processes nobody is refused."""
    with listen_unix(tmp_path / "s") as listener:
        answered: list[int] = []

        def ask() -> None:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "s")), timeout=20) as client:
                answered.append(client.get("http://x/health").status_code)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.3)
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        thread.join(timeout=10)
        connection.close()
    assert answered == [200]


@pytest.mark.slow
def test_runs_that_an_earlier_server_left_in_the_database_are_ended(tmp_path):
    started = SuperLink(tmp_path, str(tmp_path / "superlink.sqlite"))
    try:
        started.client.wait_until_up(60)
        _, token = started.start_run()
        started.process.kill()
        started.process.wait()
        started.process = started.start()
        started.client.wait_until_up(60)
        grid = SocketGrid(started.socket, token)
        grid._retry_invoker.should_giveup = lambda error: True
        grid.client.PullTaskInput(PullTaskInputRequest())  # it goes on over the restart
        started.client.end_runs()
        with pytest.raises(httpx.HTTPStatusError):
            grid.client.GetNodes(GetNodesRequest())
        grid.close()
    finally:
        started.stop()
