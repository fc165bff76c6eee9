"""The network between site and server is cut, in the midst of whatever goes on."""

from __future__ import annotations

import threading
import time

import pytest
from faulty_network import FaultyNetwork
from fleet_server import wait_until
from fleet_site import CountingApp, FleetSite, payload_of
from flwr.app import RecordDict

WAYS = ("silent", "refused")


@pytest.fixture
def network(server):
    with FaultyNetwork(int(server.address.rpartition(":")[2])) as between:
        yield between


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seconds", [0.5, pytest.param(30.0, marks=pytest.mark.slow)])
def test_a_cut_while_the_site_waits_loses_no_message(server, network, key, tmp_path, way, seconds):
    with FleetSite(tmp_path, network.address, key=key) as site:
        wait_until(lambda: site.health.ready)
        node, run = server.node_of(site.key), server.start_run()
        network.cut(way)
        order = server.order(run, node, "train", RecordDict(), ttl=300)
        time.sleep(seconds)
        network.mend()
        assert payload_of(server.reply(run, order, timeout=60)) == b"1"
    assert site.app.asked == ["train"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seconds", [0.5, pytest.param(30.0, marks=pytest.mark.slow)])
def test_a_cut_while_the_site_trains_loses_no_answer(server, network, key, tmp_path, way, seconds):
    begun, trained = threading.Event(), threading.Event()
    counting = CountingApp()

    def train(message, context):
        begun.set()
        trained.wait(60)
        return counting(message, context)

    with FleetSite(tmp_path, network.address, train, key=key) as site:
        wait_until(lambda: site.health.ready)
        run = server.start_run()
        order = server.order(run, server.node_of(site.key), "train", RecordDict(), ttl=300)
        assert begun.wait(10)
        network.cut(way)
        trained.set()
        time.sleep(seconds)
        network.mend()
        assert payload_of(server.reply(run, order, timeout=60)) == b"1"
    assert counting.asked == ["train"]


@pytest.mark.slow
def test_flower_does_not_give_a_site_up_over_a_cut_of_half_a_minute(server, network, key, tmp_path):
    """The session outlasts it: the server sees the node online throughout."""
    with FleetSite(tmp_path, network.address, key=key) as site:
        wait_until(lambda: site.health.ready)
        node = server.node_of(site.key)
        time.sleep(12)  # so that the last heartbeat is somewhere in between
        network.cut("silent")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert server.status_of(node) == "online"
            time.sleep(0.5)
        network.mend()
        time.sleep(15)
        assert server.status_of(node) == "online"
