"""One real server, as `sealora server run` starts it: who reaches what, what the operator can do, and how it ends."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from fleet_sites import FleetSite, fleet_client
from flwr.proto.control_pb2 import ListNodesRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from running_server import SEALORA, make_server, running, said, status, until

from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.initialise import renew_certificate
from sealora_server.deployment.operator.messages import Register, Unregister
from sealora_server.deployment.operator.socket import ask
from sealora_server.deployment.refused_nodes import fingerprint
from sealora_server.deployment.superlink.client import connected

from pure_sites import pure_federation, pure_recipe

RECIPE = pure_recipe()


class Running:
    """The server of all tests here, and the sites that they register."""

    def __init__(self, server, process) -> None:
        self.server = server
        self.process = process
        self.address = status(server).address
        _, parts = pure_federation(RECIPE, 3)
        self.sites = [FleetSite(part) for part in parts.values()]

    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.server.ca))
        port = self.address.rpartition(":")[2]
        return httpx.Client(base_url=f"https://localhost:{port}", verify=context, timeout=10, trust_env=False)

    def register(self) -> None:
        nodes = {site.name: site.node_key for site in self.sites}
        ask(self.server.operator_socket, Register(nodes=nodes))

    def fleet(self, key):
        return fleet_client(f"localhost:{self.address.rpartition(':')[2]}", self.server.ca, key)

    def activate(self, key) -> Node:
        request = ActivateNodeRequest(public_key=public_key_to_bytes(key.public_key()), heartbeat_interval=30.0)
        with self.fleet(key) as client:
            return Node(node_id=client.ActivateNode(request).node_id)


@pytest.fixture(scope="module")
def up(tmp_path_factory) -> Iterator[Running]:
    server, _ = make_server(tmp_path_factory.mktemp("s") / "server")
    with running(server) as process:
        yield Running(server, process)


def test_it_is_up_and_says_where(up):
    shown = status(up.server)
    assert [(process.name, process.restarts) for process in shown.processes] == [("superlink", 0), ("front", 0)]
    assert all(process.pid for process in shown.processes)
    assert shown.warnings == ()
    assert shown.tls.startswith("TLSv1.3, TLS_AES_256_GCM_SHA384, key exchange X25519")
    with up.client() as client:
        assert client.get("/healthz").status_code == 200


def test_flower_s_control_and_runtime_are_not_reachable_from_outside(up):
    with up.client() as client:
        for path in ("/v1/control/list-nodes", "/v1/control/start-run", "/v1/runtime/acquire-task", "/docs"):
            for method in ("GET", "POST"):
                assert client.request(method, path).status_code == 403


def test_no_port_is_open_but_the_front_s_and_the_probes(up):
    """Nothing of Flower's listens where another account of the machine could reach it."""
    family = [psutil.Process(up.process.pid), *psutil.Process(up.process.pid).children(recursive=True)]
    listening = {
        f"{connection.laddr.ip}:{connection.laddr.port}"
        for process in family
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {up.address, status(up.server).health}


def test_its_unix_sockets_and_its_directory_are_for_its_account_alone(up):
    assert up.server.path.stat().st_mode & 0o777 == 0o700
    sockets = sorted(path.name for path in up.server.sockets.iterdir())
    assert sockets == ["fleet.sock", "operator.sock", "superlink.sock"]
    for path in up.server.sockets.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_no_secret_stands_on_a_command_line(up):
    """Another account sees these (proc(5)); Flower's own executor puts a run's token there."""
    for process in psutil.Process(up.process.pid).children(recursive=True):
        line = process.cmdline()
        assert line[1:3] == ["-P", "-m"]
        assert len(line) == 4


def test_the_probes_and_the_metrics_are_served(up):
    address = status(up.server).health
    until(lambda: httpx.get(f"http://{address}/readyz").status_code == 200, 10)
    assert httpx.get(f"http://{address}/healthz").status_code == 200
    assert 'sealora_server_process_up{process="superlink"} 1.0' in httpx.get(f"http://{address}/metrics").text


def test_a_registered_node_connects_and_an_unknown_one_does_not(up):
    up.register()
    node = up.activate(up.sites[0].key)
    with up.fleet(up.sites[0].key) as client:
        assert list(client.PullMessages(PullMessagesRequest(node=node)).messages_list) == []
    stranger = generate_private_key(SECP384R1())
    with pytest.raises(httpx.HTTPStatusError):
        up.activate(stranger)
    with up.fleet(stranger) as client, pytest.raises(httpx.HTTPStatusError, match="401"):
        client.PullMessages(PullMessagesRequest(node=node))
    assert [site.name for site in status(up.server).sites if site.online] == ["site-0"]
    until(lambda: "site site-0 has connected" in said(up.server), 20)
    assert fingerprint(public_key_to_bytes(stranger.public_key())) in said(up.server)
    assert "PUBLIC KEY" not in said(up.server)


def test_one_site_s_key_is_replaced_and_no_other_site_notices(up):
    up.register()
    kept = up.activate(up.sites[1].key)
    old, up.sites[2].key = up.sites[2].key, generate_private_key(SECP384R1())
    up.register()
    up.activate(up.sites[2].key)
    with pytest.raises(httpx.HTTPStatusError):
        up.activate(old)
    with up.fleet(up.sites[1].key) as client:
        client.PullMessages(PullMessagesRequest(node=kept))


def test_a_withdrawn_key_is_out_at_once_and_is_not_taken_back(up):
    up.register()
    extra = FleetSite(up.sites[0].part)
    ask(up.server.operator_socket, Register(nodes={"oslo": extra.node_key}))
    node = up.activate(extra.key)
    ask(up.server.operator_socket, Unregister(site="oslo"))
    with up.fleet(extra.key) as client, pytest.raises(httpx.HTTPStatusError, match="401"):
        client.PullMessages(PullMessagesRequest(node=node))
    with pytest.raises(DeploymentError, match="the node key of 'oslo' was withdrawn before and is not taken back"):
        ask(up.server.operator_socket, Register(nodes={"oslo": extra.node_key}))
    ask(up.server.operator_socket, Unregister(site="oslo"))


def test_the_superlink_s_own_socket_serves_the_operator_s_account(up):
    """What keeps everyone else away from it is its mode, and nothing behind it."""
    with connected(ControlHttpClient, up.server.superlink_socket, []) as client:
        assert client.ListNodes(ListNodesRequest()) is not None
    with (
        connected(ControlHttpClient, up.server.fleet_socket, []) as client,
        pytest.raises(httpx.HTTPStatusError, match="403"),
    ):
        client.ListNodes(ListNodesRequest())


def test_a_renewed_certificate_is_in_use_without_a_restart(up):
    def serial() -> bytes:
        with up.client() as client, client.stream("GET", "/healthz") as answer:
            found: ssl.SSLObject = answer.extensions["network_stream"].get_extra_info("ssl_object")
            return found.getpeercert(True) or b""

    before = serial()
    renew_certificate(up.server)
    until(lambda: serial() != before, 20)
    assert [process.restarts for process in status(up.server).processes] == [0, 0]


def test_a_second_server_on_the_same_directory_refuses_to_start(up):
    command = [sys.executable, "-c", SEALORA, "server", "run", "--config", str(up.server.config_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"Error: {up.server.path}: process {up.process.pid} is at work on this server already"
    )
    assert done.stderr.count("\n") == 1
    assert status(up.server)


def test_bad_requests_leave_it_serving(up):
    with up.client() as client:
        for content in (b"", b"\xff" * 1000, os.urandom(100_000)):
            kinds = {"content-type": "application/protobuf"}
            assert client.post("/v1/fleet/push-messages", content=content, headers=kinds).status_code in {400, 401}
        assert client.post("/v1/fleet/push-object", content=bytes(33 * 2**20)).status_code == 413
        assert client.get("/healthz").status_code == 200


@pytest.mark.slow
def test_it_stops_in_bounded_time_and_leaves_nothing_behind(tmp_path):
    """Also when nobody listens to it any more: the log's reader is gone, a site is in the middle of a request."""
    server, _ = make_server(tmp_path / "server")
    with running(server) as process:
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == 2
        address = status(server).address
        context = ssl.create_default_context(cafile=str(server.ca))
        held = threading.Event()

        def hold() -> None:
            with httpx.Client(verify=context, trust_env=False, timeout=30) as client:

                def body():
                    yield b"a"
                    held.set()
                    time.sleep(20)

                with pytest.raises(httpx.HTTPError):
                    client.post(f"https://localhost:{address.rpartition(':')[2]}/v1/fleet/push-object", content=body())

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        assert held.wait(timeout=10)
        began = time.monotonic()
        process.terminate()
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - began < 15
        assert "the server has stopped" in said(server)
        assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family)


@pytest.mark.slow
def test_nothing_it_started_outlives_a_server_that_is_killed(tmp_path):
    server, _ = make_server(tmp_path / "server")
    with running(server) as process:
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        gone, alive = psutil.wait_procs(family, timeout=5)
        assert (len(gone), alive) == (2, [])
