"""Messages that come twice, too late, or not whole, from a SuperLink of Flower's own."""

from __future__ import annotations

import numpy as np
import pytest
from fleet_server import wait_until
from fleet_site import HELLO, CountingApp, FleetSite, content, joined, payload_of, refusal_of
from flwr.app import Array, ArrayRecord, RecordDict
from starlette.responses import Response

from sealora_client.fleet import connection as connection_module
from sealora_client.fleet import hostile, session_record
from sealora_client.fleet.session_record import SESSION_RECORD
from sealora_client.fleet.stop import StopNow
from sealora_common.errors import StorageError


def test_a_message_that_comes_twice_is_worked_on_once_and_answered_twice(server, key, tmp_path):
    with FleetSite(tmp_path, server.address, key=key) as site:
        node, run = joined(server, site), server.start_run()
        order = server.order(run, node, "train", content())
        first = server.reply(run, order)
        server.hand_out_again(order)
        wait_until(lambda: server.asked.count("/v1/fleet/push-messages") == 2)
        other = server.order(run, node, "train", content(1))
        assert payload_of(server.reply(run, other)) == b"2"
        server.hand_out_again(order)  # its answer is gone by now
        server.reply(run, server.order(run, node, HELLO, content(2)))
    assert payload_of(first) == b"1"
    assert site.app.asked == ["train", "train", HELLO]


def test_a_message_that_comes_again_after_a_restart_of_the_site_is_not_worked_on_again(server, key, tmp_path):
    with FleetSite(tmp_path, server.address, key=key) as site:
        node, run = joined(server, site), server.start_run()
        order = server.order(run, node, "train", content())
        server.reply(run, order)
    with FleetSite(tmp_path, server.address, key=key) as site:
        joined(server, site)
        server.hand_out_again(order)
        server.reply(run, server.order(run, node, HELLO, content()))
    assert site.app.asked == [HELLO]


def test_what_was_in_hand_when_the_site_died_is_refused_when_it_is_back(server, key, tmp_path):
    crashed = FleetSite(tmp_path, server.address, key=key)
    node = crashed.connection.open()
    crashed.record.opened(node)
    run = server.start_run()
    order = server.order(run, node, "train", content())
    delivery = crashed.connection.pull(held=True)
    crashed.record.take(delivery.metadata)  # and here it is killed
    with FleetSite(tmp_path, server.address, key=key) as site:
        wait_until(lambda: site.health.ready)
        assert "restarted" in refusal_of(server.reply(run, order))
        assert payload_of(server.reply(run, server.order(run, node, "train", content(1)))) == b"1"
    assert site.app.asked == ["train"]


def test_a_site_that_is_stopped_while_it_trains_says_so(server, key, tmp_path):
    def train(message, context):
        raise StopNow

    with FleetSite(tmp_path, server.address, train, key=key, settle=0.5) as site:
        run, node = server.start_run(), joined(server, site)
        order = server.order(run, node, "train", content())
        assert "being stopped" in refusal_of(server.reply(run, order))
        wait_until(lambda: server.status_of(node) == "offline")
    assert 'in_hand":null' in (tmp_path / SESSION_RECORD).read_text()


def test_the_last_answer_before_a_stop_still_reaches_the_server(server, key, tmp_path):
    """Flower drops what it holds of a node that has left, so the site stays until the server has come for it."""

    def train(message, context):
        site.loop.stop()
        return CountingApp()(message, context)

    with FleetSite(tmp_path, server.address, train, key=key, settle=0.5) as site:
        run, node = server.start_run(), joined(server, site)
        order = server.order(run, node, "train", content())
        assert payload_of(server.reply(run, order)) == b"1"
        wait_until(lambda: server.status_of(node) == "offline")


def test_an_answer_to_a_run_that_is_over_is_dropped(server, key, tmp_path, caplog):
    def train(message, context):
        if len(counting.asked) == 0:
            server.stop_run(run)
        return counting(message, context)

    counting = CountingApp()
    with FleetSite(tmp_path, server.address, train, key=key) as site:
        run, node = server.start_run(), joined(server, site)
        server.order(run, node, "train", content())
        wait_until(lambda: "a message was dropped" in caplog.text)
        other = server.start_run()
        server.reply(other, server.order(other, node, HELLO, content()))


def test_an_app_that_fails_tells_the_server_nothing_of_why(server, key, tmp_path):
    def failing(message, context):
        raise ValueError("the record of Jane Doe")

    with FleetSite(tmp_path, server.address, failing, key=key) as site:
        run = server.start_run()
        reply = server.reply(run, server.order(run, joined(server, site), "train", content()))
        assert refusal_of(reply) == "the site takes no part in this; its own log says why"
    assert site.sample("sealora_site_messages_total", stage="train", outcome="refused") == 1


DAMAGES = {
    "cut short": lambda value: value[: len(value) // 2],
    "empty of meaning": lambda value: b"\x00" * len(value),
    "of no known kind": lambda value: value.replace(b"RecordDict", b"Unknown"),
    "no message": lambda value: value.replace(b"Message", b"ConfigRecord"),
    "withdrawn": lambda value: None,
}


@pytest.mark.parametrize("case", DAMAGES)
def test_an_order_that_is_no_message_is_refused(server, key, tmp_path, case):
    with FleetSite(tmp_path, server.address, key=key) as site:
        run, node = server.start_run(), joined(server, site)
        store = server.state.object_store
        whole = store.get
        store.get = lambda object_id: (value := whole(object_id)) and DAMAGES[case](value)
        order = server.order(run, node, "train", content())
        wait_until(lambda: server.asked.count("/v1/fleet/push-messages") == 1)
        del store.get
        assert "could not read the message" in refusal_of(server.reply(run, order))
        assert payload_of(server.reply(run, server.order(run, node, HELLO, content()))) == b"1"
    assert site.app.asked == [HELLO]


@pytest.mark.parametrize(("limit", "of"), [("LARGEST_MESSAGE", connection_module), ("MOST_OBJECTS", hostile)])
def test_an_order_larger_than_any_is_refused_before_it_fills_the_memory(server, key, tmp_path, monkeypatch, limit, of):
    def large(size):
        arrays = ArrayRecord({f"part {number}": Array(np.full(size, number, np.float32)) for number in range(20)})
        return RecordDict({"arrays": arrays})

    monkeypatch.setattr(of, limit, 50_000 if limit == "LARGEST_MESSAGE" else 10)
    with FleetSite(tmp_path, server.address, key=key) as site:
        run, node = server.start_run(), joined(server, site)
        assert "could not read the message" in refusal_of(
            server.reply(run, server.order(run, node, "train", large(5000)))
        )
        assert payload_of(server.reply(run, server.order(run, node, HELLO, content()))) == b"1"
    assert site.app.asked == [HELLO]


def test_a_full_disk_refuses_the_order_before_any_work(server, key, tmp_path, monkeypatch):
    full = False

    def write(*arguments, **options):
        if full:
            raise StorageError("the disk is full")
        return original(*arguments, **options)

    original = session_record.write_atomically
    monkeypatch.setattr(session_record, "write_atomically", write)
    with FleetSite(tmp_path, server.address, key=key) as site:
        run, node = server.start_run(), joined(server, site)
        wait_until(lambda: site.health.ready)
        full = True
        reply = server.reply(run, server.order(run, node, "train", content()))
        assert "cannot read or write its own files" in refusal_of(reply)
        full = False
        assert payload_of(server.reply(run, server.order(run, node, "train", content(1)))) == b"1"
    assert site.app.asked == ["train"]


def test_a_front_that_takes_no_answer_of_this_size_gets_a_refusal_instead(server, key, tmp_path):
    refused = []

    def too_large(request):
        if request.url.path.endswith("push-messages") and not refused:
            refused.append(request)
            return Response(status_code=413)
        return None

    server.fault = too_large
    with FleetSite(tmp_path, server.address, key=key) as site:
        run, node = server.start_run(), joined(server, site)
        order = server.order(run, node, "train", content())
        assert "did not take this site's answer" in refusal_of(server.reply(run, order))


def test_redirects_are_not_followed(server, key, tmp_path):
    server.fault = lambda request: Response(status_code=307, headers={"location": "http://127.0.0.1:9/elsewhere"})
    with FleetSite(tmp_path, server.address, key=key) as site:
        wait_until(lambda: "HTTP 307" in site.health.state.parts["server"].said)
