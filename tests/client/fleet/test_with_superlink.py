"""The site's loop against Flower's own SuperLink: servers that go and come back, and refusals."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import time
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from fleet_server import FleetServer, wait_until
from fleet_site import HELLO, CountingApp, FleetSite, content, joined, new_key, payload_of
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.supernode import node_auth_http_interceptor
from starlette.responses import Response

from sealora_client.fleet import connection as connection_module
from sealora_client.fleet.connection import FleetConnection
from sealora_client.fleet.errors import LostConnectionError
from sealora_common.network.frames import LONGEST_WAIT_SECONDS, WAIT


def test_it_joins_answers_and_leaves(server, key, tmp_path):
    with FleetSite(tmp_path, server.address, key=key) as site:
        node = joined(server, site)
        run = server.start_run()
        for number in (1, 2, 3):
            reply = server.reply(run, server.order(run, node, HELLO, content()))
            assert payload_of(reply) == str(number).encode()
        assert site.health.ready
    assert server.status_of(node) == "offline"
    assert site.app.asked == [HELLO] * 3


def test_the_bundle_of_the_server_is_never_asked_for(server, key, tmp_path):
    with FleetSite(tmp_path, server.address, key=key) as site:
        run = server.start_run()
        server.reply(run, server.order(run, joined(server, site), "train", content()))
    paths = {path.rpartition("/")[2] for path in server.asked}
    assert {"get-fab", "get-run"} & paths == set()
    assert paths - {"register-node"} == {
        "activate-node", "pull-messages", "push-messages", "deactivate-node",
    }  # fmt: skip


def test_large_arrays_travel_both_ways(server, key, tmp_path):
    sent = np.arange(2_000_000, dtype=np.float32)  # 8 MB: two of Flower's pieces

    def double(message, context):
        array = message.content.array_records["arrays"]["adapter"].numpy()
        return Message(RecordDict({"arrays": ArrayRecord({"adapter": Array(2 * array)})}), reply_to=message)

    with FleetSite(tmp_path, server.address, double, key=key) as site:
        run = server.start_run()
        order = server.order(
            run, joined(server, site), "train", RecordDict({"arrays": ArrayRecord({"adapter": Array(sent)})})
        )
        got = server.reply(run, order).content.array_records["arrays"]["adapter"].numpy()
    assert np.array_equal(got, 2 * sent)
    assert site.sample("sealora_site_bytes_total", direction="received") >= sent.nbytes


def test_what_the_app_keeps_of_a_run_lasts_from_message_to_message(server, key, tmp_path):
    with FleetSite(tmp_path, server.address, key=key) as site:
        node = joined(server, site)
        runs = [server.start_run() for _ in range(2)]
        for run in (*runs, runs[0]):
            server.reply(run, server.order(run, node, HELLO, content()))
    first, second, again = site.app.contexts
    assert first is again
    assert first is not second
    assert first.node_config == {"site-directory": str(tmp_path)}


# Servers that go and come back


def test_it_goes_on_after_the_server_was_restarted(server, key, tmp_path, caplog):
    caplog.set_level(logging.INFO, "sealora_client")
    with FleetSite(tmp_path, server.address, key=key) as site:
        node = joined(server, site)
        run = server.start_run()
        server.reply(run, server.order(run, node, HELLO, content(1)))
        server.stop()
        wait_until(lambda: not site.health.ready)
        time.sleep(0.3)
        server.start()
        reply = server.reply(run, server.order(run, node, HELLO, content(2)))
        assert payload_of(reply) == b"2"
    said = [record.getMessage() for record in caplog.records if record.name.endswith("fleet.link")]
    assert len(said) == 3, said  # one line a change
    assert said[0] == f"connected to {server.address}"
    assert said[1].startswith(f"no connection to {server.address} (")
    assert said[2].startswith(f"connected to {server.address} again, after ")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.slow
def test_an_answer_that_finds_no_server_is_sent_when_it_is_back(server, key, tmp_path):
    def outage(message, context):
        server.stop()
        return counting(message, context)

    counting = CountingApp()
    with FleetSite(tmp_path, server.address, outage, key=key) as site:
        run = server.start_run()
        order = server.order(run, joined(server, site), "train", content())
        wait_until(lambda: counting.asked == ["train"])
        time.sleep(0.3)
        server.start()
        assert payload_of(server.reply(run, order)) == b"1"
    assert counting.asked == ["train"]


def test_it_starts_before_the_server(tmp_path):
    server, key = FleetServer(keyed=True), new_key()
    with server:
        server.register(key)
    with FleetSite(tmp_path, server.address, key=key) as site:
        wait_until(lambda: not site.health.ready)
        with server:
            joined(server, site)


@pytest.mark.parametrize(("held", "seconds"), [(True, LONGEST_WAIT_SECONDS), (False, 0)])
def test_a_question_says_for_how_long_it_may_be_held(server, key, held, seconds):
    asked: list[str | None] = []

    def noted(request) -> Response:
        asked.append(request.headers.get(WAIT))
        return Response(status_code=503)

    with contextlib.closing(FleetConnection(server.address, key, None)) as connection:
        connection.open()
        server.fault = noted
        with pytest.raises(LostConnectionError):
            connection.pull(held=held)
    assert asked == [str(seconds)]


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_cannot_serve_now_is_asked_again(server, key, tmp_path, status):
    refused = count()
    server.fault = lambda request: Response(status_code=status) if next(refused) < 6 else None
    with FleetSite(tmp_path, server.address, key=key) as site:
        run = server.start_run()
        node = server.node_of(key)
        wait_until(lambda: server.status_of(node) == "online")
        broken = count()
        server.fault = lambda request: Response(status_code=status) if next(broken) % 3 == 0 else None
        assert payload_of(server.reply(run, server.order(run, node, HELLO, content()))) == b"1"
        server.fault = None
        wait_until(lambda: site.health.ready)
    assert site.app.asked == [HELLO]


def test_a_server_without_memory_of_the_node_is_joined_anew_and_no_key_is_blamed(tmp_path, caplog):
    caplog.set_level("INFO")
    with FleetServer() as server, FleetSite(tmp_path, server.address) as site:
        wait_until(lambda: site.health.ready)
        former = joined(server, site)
        server.stop()
        server.forget()
        server.start()
        wait_until(lambda: server.node_of(site.key) is not None)
        run, node = server.start_run(), joined(server, site)
        server.reply(run, server.order(run, node, HELLO, content()))
        assert node != former
    said = [record.getMessage() for record in caplog.records]
    assert not any("does not know this site's node key" in line for line in said)


def test_a_copy_of_a_site_s_directory_does_not_take_its_session_and_says_why(server, key, tmp_path):
    (tmp_path / "site").mkdir()
    with FleetSite(tmp_path / "site", server.address, key=key) as site:
        node = joined(server, site)
        shutil.copytree(tmp_path / "site", tmp_path / "copy")
        with FleetSite(tmp_path / "copy", server.address, key=key) as copy:
            why = "another process that runs with this site's keys"
            wait_until(lambda: why in copy.health.state.parts["server"].said)
            run = server.start_run()
            server.reply(run, server.order(run, node, HELLO, content()))
            assert site.health.ready
            assert not copy.health.ready


# Refusals


def test_a_key_that_is_not_registered_is_told_so_and_tried_until_it_is(server, tmp_path):
    with FleetSite(tmp_path, server.address) as site:
        wait_until(lambda: "does not know" in site.health.state.parts["server"].said)
        said = site.health.state.parts["server"].said
        assert "have the coordinator add this site's card to the roster" in said
        server.register(site.key)
        joined(server, site)


@pytest.fixture
def set_clock(monkeypatch):
    """`set_clock(8)` sets the site's clock 8 s ahead."""
    now, off = time.time, [0.0]
    monkeypatch.setattr(node_auth_http_interceptor, "now", lambda: datetime.fromtimestamp(now() + off[0], UTC))
    monkeypatch.setattr(connection_module, "time", SimpleNamespace(time=lambda: now() + off[0]))
    return lambda seconds: off.__setitem__(0, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [-295.0, -20.0, 0.0, 3.0])
def test_a_clock_that_is_off_a_little_does_no_harm(server, key, tmp_path, set_clock, seconds):
    set_clock(seconds)
    with FleetSite(tmp_path, server.address, key=key) as site:
        joined(server, site)
        assert site.connection.probe().clock_ahead == pytest.approx(seconds, abs=2)


@pytest.mark.parametrize(("seconds", "side"), [(20.0, "ahead of"), (-320.0, "behind")])
def test_a_clock_that_flower_refuses_is_told_so_and_by_how_much(server, key, tmp_path, set_clock, seconds, side):
    set_clock(seconds)
    with FleetSite(tmp_path, server.address, key=key) as site:
        wait_until(lambda: "clock" in site.health.state.parts["server"].said)
        said = site.health.state.parts["server"].said
        told = re.search(rf"clock is (\d+) s {side} the server's: set it", said)
        assert told, said
        assert float(told[1]) == pytest.approx(abs(seconds), abs=5)
        set_clock(0.0)
        joined(server, site)


def test_a_session_left_open_by_a_crash_is_taken_over_at_once(server, key, tmp_path):
    crashed = FleetSite(tmp_path, server.address, key=key)
    crashed.record.opened(crashed.connection.open())
    assert server.status_of(server.node_of(key)) == "online"
    started = time.monotonic()
    with FleetSite(tmp_path, server.address, key=key) as site:
        wait_until(lambda: site.health.ready)
    assert time.monotonic() - started < 30  # Flower would refuse it for twice as long


def test_a_session_of_another_place_is_not_taken_over_but_waited_for(server, key, tmp_path):
    elsewhere = FleetSite(tmp_path / "a", server.address, key=key)
    elsewhere.connection.open()
    (tmp_path / "b").mkdir()
    with FleetSite(tmp_path / "b", server.address, key=key) as site:
        wait_until(lambda: "last session" in site.health.state.parts["server"].said)
        time.sleep(0.3)
        assert not site.health.ready
        elsewhere.connection.leave()
        wait_until(lambda: site.health.ready)
