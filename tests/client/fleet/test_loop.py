"""The loop against a connection that does what a test says: what the real server cannot be made to do at will."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from fake_connection import LOST, SERVER, FakeConnection, reasons
from fleet_server import wait_until
from fleet_site import CountingApp, FleetSite, delivery

from sealora_client.fleet.errors import BadMessageError, LostConnectionError, RunEndedError
from sealora_client.fleet.stop import StopNow


def test_every_kind_of_trouble_ends_in_a_session(start):
    connection = FakeConnection(open=[LOST, *reasons("unknown", "clock", "other", "certificate", "busy"), LOST])
    site = start(connection)
    wait_until(lambda: site.health.ready)
    assert connection.calls.count("open") == 8


def test_after_a_failure_the_next_question_is_not_held(start):
    """A held one would leave the site without a server, as far as its operator sees, for as long as it is held."""
    connection = FakeConnection(pull=[LOST])
    site = start(connection)
    wait_until(lambda: len(connection.held) >= 3 and site.health.ready)
    assert connection.held[:3] == [True, False, True]


def test_one_line_tells_of_each_change_however_many_attempts_it_takes(start, caplog):
    caplog.set_level(logging.INFO, "sealora_client.fleet.link")
    lost = [LostConnectionError(f"no connection ({number})") for number in range(5)]
    connection = FakeConnection(open=[*lost, *reasons("clock", "clock", "clock")], pull=[])
    site = start(connection)
    wait_until(lambda: site.health.ready)
    connection.failures["pull"] = [LOST] * 3
    wait_until(lambda: not site.health.ready)
    wait_until(lambda: site.health.ready)
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(",")[0].partition(";")[0] for line in said] == [
        "no connection (0)",
        "clock it is",
        f"connected to {SERVER} again",
        "no connection",
        f"connected to {SERVER} again",
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO", "WARNING", "INFO"]


def test_the_ca_is_read_anew_when_the_server_s_certificate_does_not_hold(start):
    connection = FakeConnection(open=reasons("certificate"), pull=[])
    site = start(connection)
    wait_until(lambda: site.health.ready)
    assert connection.calls[:3] == ["open", "reconnect", "open"]
    connection.failures["pull"] = reasons("certificate", "certificate")
    wait_until(lambda: connection.calls.count("reconnect") == 3)
    wait_until(lambda: site.health.ready)
    assert connection.calls.count("open") == 2  # the session lasts


def test_a_session_that_is_refused_in_the_midst_is_opened_anew(start):
    connection = FakeConnection()
    start(connection)
    wait_until(lambda: "pull" in connection.calls)
    connection.failures["pull"] = reasons("unknown")
    wait_until(lambda: connection.calls.count("open") == 2)


def test_a_session_lost_while_a_message_is_fetched_refuses_the_message(start):
    connection = FakeConnection(fetch=reasons("unknown"))
    connection.inbox.append(delivery())
    site = start(connection)
    wait_until(lambda: len(connection.pushed) == 1)
    assert site.app.asked == []
    assert connection.calls.count("open") == 2


def test_an_answer_that_finds_no_session_is_sent_in_the_next_and_made_once(start):
    connection = FakeConnection(push=[LOST, *reasons("unknown"), LOST])
    connection.inbox.append(delivery())
    site = start(connection)
    wait_until(lambda: len(connection.pushed) == 1)
    assert site.app.asked == ["train"]
    assert connection.calls.count("push") == 4


def test_an_answer_that_nobody_waits_for_any_more_is_dropped(start, caplog):
    connection = FakeConnection(push=[LOST] * 1000)
    connection.inbox.append(delivery(ttl=0.3))
    start(connection)
    wait_until(lambda: "a message was dropped" in caplog.text)
    connection.failures["push"] = []
    connection.inbox.append(delivery(2))
    wait_until(lambda: len(connection.pushed) == 1)
    assert connection.pushed[0].envelope.metadata.reply_to_message_id == f"{2:064x}"


@pytest.mark.parametrize("error", [RunEndedError("over"), BadMessageError("too large")])
def test_an_answer_that_is_not_taken_does_not_stop_the_site(start, error):
    connection = FakeConnection(push=[error, error])
    connection.inbox += [delivery(1), delivery(2), delivery(3)]
    site = start(connection)
    wait_until(lambda: site.app.asked == ["train"] * 3)
    wait_until(lambda: bool(connection.pushed))


def test_the_journal_knows_of_a_message_before_the_app_does_and_until_it_is_answered(start, tmp_path):
    seen = []

    def app(message, context):
        seen.append(site.record.in_hand.message_id)
        return CountingApp()(message, context)

    connection = FakeConnection()
    site = start(connection, app)
    connection.inbox.append(delivery())
    wait_until(lambda: len(connection.pushed) == 1)
    wait_until(lambda: site.record.in_hand is None)
    assert seen == [f"{1:064x}"]


def test_long_training_keeps_the_session_alive(start, monkeypatch):
    monkeypatch.setattr("sealora_client.fleet.heartbeat.Heartbeat.__init__.__defaults__", (0.02,))
    trained = threading.Event()

    def train(message, context):
        trained.wait(10)
        return CountingApp()(message, context)

    connection = FakeConnection()
    connection.inbox.append(delivery())
    site = start(connection, train)
    wait_until(lambda: connection.calls.count("heartbeat") > 5)
    assert site.health.ready
    connection.failures["heartbeat"] = [LOST] * 3
    wait_until(lambda: not site.health.ready)  # the heartbeats speak for the link while the loop is at work
    wait_until(lambda: site.health.ready)
    trained.set()
    wait_until(lambda: len(connection.pushed) == 1)


def test_whoever_stops_the_loop_waits_for_no_pause(tmp_path):
    connection = FakeConnection(open=[LOST] * 1000)
    site = FleetSite(tmp_path, SERVER, connection=connection)
    site.loop._backoff = SlowBackoff()
    with site:
        wait_until(lambda: "open" in connection.calls)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert "leave" not in connection.calls


class SlowBackoff:
    def pause(self) -> float:
        return 60.0

    def reset(self) -> None:
        pass


def test_what_is_in_hand_is_given_up_and_refused_when_the_time_is_up(start):
    def train(message, context):
        raise StopNow

    connection = FakeConnection()
    connection.inbox.append(delivery())
    site = start(connection, train)
    wait_until(lambda: "leave" in connection.calls)
    assert len(connection.pushed) == 1
    wait_until(lambda: site.record.open_node is None)
    assert site.record.in_hand is None


def test_an_answer_that_a_stopped_site_cannot_send_any_more_is_told_lost_at_the_next_start(tmp_path):
    connection = FakeConnection(push=[LOST] * 1000)
    connection.inbox.append(delivery())
    with FleetSite(tmp_path, SERVER, connection=connection):
        wait_until(lambda: connection.calls.count("push") > 3)
    assert "leave" not in connection.calls
    again = FakeConnection()
    with FleetSite(tmp_path, SERVER, connection=again) as site:
        wait_until(lambda: len(again.pushed) == 1)
        wait_until(lambda: site.record.in_hand is None)
    assert again.pushed[0].envelope.metadata.reply_to_message_id == f"{1:064x}"
    assert site.app.asked == []


def test_a_site_says_goodbye_though_the_run_of_its_last_answer_is_over(tmp_path):
    def train(message, context):
        site.loop.stop()
        return CountingApp()(message, context)

    connection = FakeConnection(push=[RunEndedError("over")])
    with FleetSite(tmp_path, SERVER, train, connection=connection) as site:
        connection.inbox.append(delivery())
        wait_until(lambda: "leave" in connection.calls)
    assert site.record.open_node is None


def test_a_session_that_is_no_more_this_site_s_is_waited_for(tmp_path):
    """The record names a node, and the server holds a session, but not that node's."""
    FleetSite(tmp_path, SERVER, connection=FakeConnection()).record.opened(6)
    connection = FakeConnection(**{"open": reasons("busy", "busy"), "resume 6": reasons("unknown", "unknown")})
    with FleetSite(tmp_path, SERVER, connection=connection) as site:
        wait_until(lambda: "busy it is" in site.health.state.parts["server"].said)
        wait_until(lambda: site.health.ready)


def test_a_heartbeat_that_fails_in_a_way_nobody_thought_of_is_not_the_last(start, monkeypatch, caplog):
    monkeypatch.setattr("sealora_client.fleet.heartbeat.Heartbeat.__init__.__defaults__", (0.02,))
    connection = FakeConnection(heartbeat=[KeyError("what")])
    start(connection)
    wait_until(lambda: connection.calls.count("heartbeat") > 3)
    assert "a heartbeat failed" in caplog.text


def test_between_the_last_answer_and_the_goodbye_there_is_time_to_fetch_the_answer(tmp_path):
    """Flower drops what it holds of a node that has left."""
    times: dict[str, float] = {}

    class Timed(FakeConnection):
        def _call(self, name: str) -> None:
            times[name] = time.monotonic()
            super()._call(name)

    connection = Timed()
    connection.inbox.append(delivery())
    with FleetSite(tmp_path, SERVER, connection=connection, settle=0.4):
        wait_until(lambda: len(connection.pushed) == 1)
    assert 0.4 <= times["leave"] - times["push"] < 5


def test_only_so_many_runs_are_remembered(start):
    connection, app = FakeConnection(), CountingApp()
    for number in range(6):
        order = delivery(number)
        order.metadata.__dict__["_run_id"] = number
        connection.inbox.append(order)
    start(connection, app)
    wait_until(lambda: len(connection.pushed) == 6)
    again = delivery(9)
    again.metadata.__dict__["_run_id"] = 0
    connection.inbox.append(again)
    wait_until(lambda: len(connection.pushed) == 7)
    assert app.contexts[-1] is not app.contexts[0]


def test_metrics_count_messages_stages_bytes_and_finished_rounds(start):
    connection = FakeConnection()
    for number, stage in enumerate(["train", "query.share", "query.mask", "query.confirm", "query.open", "evaluate"]):
        order = delivery(number)
        order.metadata.__dict__["_message_type"] = stage
        connection.inbox.append(order)
    site = start(connection)
    wait_until(lambda: len(connection.pushed) == 6)
    wait_until(lambda: site.sample("sealora_site_messages_total", stage="evaluate", outcome="answered") == 1)
    assert site.sample("sealora_site_rounds_total", purpose="train") == 1
    assert site.sample("sealora_site_rounds_total", purpose="evaluate") == 0
    assert site.sample("sealora_site_stage_seconds_count", stage="mask") == 1
    assert site.sample("sealora_site_bytes_total", direction="sent") == 6
    assert site.sample("sealora_site_connected") == 1
