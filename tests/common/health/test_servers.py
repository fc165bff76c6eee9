"""The probes, asked as Kubernetes, Prometheus and a person would ask them."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry, Counter

from sealora_common.errors import StorageError
from sealora_common.health import GrpcHealthServer, Health, HealthServer

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def health():
    return Health("server")


@pytest.fixture
def get(health):
    """`get(path)`: status and body of an answer."""
    registry = CollectorRegistry()
    Counter("rounds", "Rounds.", registry=registry).inc(3)
    with HealthServer("127.0.0.1:0", health, registry) as server:

        def got(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{server.address[1]}{path}", timeout=5) as response:
                    return response.status, response.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        yield got


def test_a_process_that_waits_for_its_server_is_alive_and_not_ready(health, get):
    assert get("/healthz")[0] == 200
    status, body = get("/readyz")
    assert status == 503
    assert body == health.state.to_json()
    health.report("server", True, "connected")
    assert (get("/healthz")[0], get("/readyz")[0]) == (200, 200)
    health.fail("over")
    assert (get("/healthz")[0], get("/readyz")[0]) == (503, 503)


def test_metrics_are_told_in_prometheus_form_and_nothing_else_is_there(get):
    status, body = get("/metrics")
    assert status == 200
    assert "rounds_total 3.0" in body.splitlines()
    for path in ("/", "/docs", "/openapi.json", "/metrics/x", "/healthz/.."):
        assert get(path)[0] == 404


def test_it_listens_where_it_is_told_and_nowhere_else(health):
    with HealthServer("127.0.0.1:0", health, CollectorRegistry()) as server:
        assert server.address[0] == "127.0.0.1"
        with socket.socket() as other:
            assert other.connect_ex(("127.0.0.2", server.address[1])) != 0
    with socket.socket() as later:
        assert later.connect_ex(("127.0.0.1", server.address[1])) != 0  # it stops


def test_grpc_tells_readiness_as_the_whole_and_liveness_by_name(health):
    with (
        GrpcHealthServer("127.0.0.1:0", health) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.address[1]}") as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)

        def status(service: str = "") -> int:
            return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status

        assert (status(), status("alive")) == (NOT_SERVING, SERVING)
        health.report("server", True, "connected")
        assert (status(), status("alive")) == (SERVING, SERVING)
        health.fail("over")
        assert (status(), status("alive")) == (NOT_SERVING, NOT_SERVING)
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            status("other")


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_an_address_that_is_taken_is_one_sentence(health, kind):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = (
            HealthServer(address, health, CollectorRegistry()) if kind == "http" else GrpcHealthServer(address, health)
        )
        with pytest.raises(StorageError, match=rf"{address}: cannot listen there.*: choose another address"), server:
            pass


@pytest.mark.parametrize("address", ["", "9180", "localhost", ":9180", "localhost:", "localhost:x", "localhost:70000"])
def test_what_is_no_address_is_one_sentence(health, address):
    with (
        pytest.raises(StorageError, match=r"is no address: write host:port, for example 127\.0\.0\.1:9180"),
        HealthServer(address, health, CollectorRegistry()),
    ):
        pass
