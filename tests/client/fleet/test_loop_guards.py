"""What the loop does not do: work twice, send another's answer, wait for ever, die of an error."""

from __future__ import annotations

import time

import pytest
from fake_connection import LOST, SERVER, FakeConnection, reasons
from fleet_server import wait_until
from fleet_site import CountingApp, FleetSite, delivery

from sealora_client.fleet.errors import BadMessageError
from sealora_client.fleet.flower import Reply
from sealora_client.fleet.stop import StopNow
from sealora_common.errors import StorageError

FULL = StorageError("the disk is full")


def to(reply: Reply) -> int:
    """The number of the delivery that it answers."""
    return int(reply.envelope.metadata.reply_to_message_id, 16)


def is_refusal(reply: Reply) -> bool:
    return any(b"error" in content for content in reply.contents.values())


def test_a_message_that_comes_again_is_not_worked_on_and_only_the_last_answer_is_sent_again(start):
    connection = FakeConnection()
    first, second = delivery(1), delivery(2)
    connection.inbox += [first, second, first, second, delivery(3)]
    site = start(connection)
    wait_until(lambda: len(connection.pushed) == 4)
    assert [to(reply) for reply in connection.pushed] == [1, 2, 2, 3]
    assert connection.pushed[1] is connection.pushed[2]
    assert site.app.asked == ["train"] * 3


def test_a_server_that_says_the_same_for_ever_is_not_listened_to_without_a_pause(start):
    again = delivery()

    class Insistent(FakeConnection):
        def pull(self, *, held):
            super().pull(held=held)
            return again

    connection = Insistent()
    start(connection)
    wait_until(lambda: bool(connection.pushed))
    before = connection.calls.count("pull")
    time.sleep(0.5)
    assert connection.calls.count("pull") - before <= 0.5 / 0.02 + 1


def test_a_message_that_does_not_come_whole_is_given_up_whatever_time_the_server_set(start, caplog):
    connection = FakeConnection(fetch=[LOST] * 1000)
    connection.inbox.append(delivery(ttl=1e9))
    site = start(connection, longest_fetch=0.3)
    wait_until(lambda: "a message was dropped" in caplog.text)
    connection.failures["fetch"] = []
    connection.inbox.append(delivery(2))
    wait_until(lambda: len(connection.pushed) == 1)
    assert to(connection.pushed[0]) == 2
    assert site.app.asked == ["train"]


def test_an_answer_that_is_not_taken_is_refused_once_and_the_refusal_not_again(start):
    too_large = BadMessageError("too large")
    connection = FakeConnection(push=[too_large])
    connection.inbox.append(delivery(1))
    start(connection)
    wait_until(lambda: len(connection.pushed) == 1)
    assert to(connection.pushed[0]) == 1
    assert is_refusal(connection.pushed[0])
    connection.failures["push"] = [too_large, too_large]
    connection.calls.clear()
    connection.inbox += [delivery(2), delivery(3)]
    wait_until(lambda: len(connection.pushed) == 2)
    assert to(connection.pushed[1]) == 3
    assert not is_refusal(connection.pushed[1])
    assert connection.calls.count("push") == 3


def test_the_answer_that_was_made_is_sent_in_the_next_session_and_no_refusal(start):
    connection = FakeConnection(push=reasons("unknown"))
    connection.inbox.append(delivery())
    start(connection)
    wait_until(lambda: len(connection.pushed) == 1)
    assert connection.calls.count("open") == 2
    assert not is_refusal(connection.pushed[0])


def test_a_certificate_that_does_not_hold_ends_no_session_while_an_answer_is_sent(start):
    connection = FakeConnection(push=reasons("certificate"))
    connection.inbox.append(delivery())
    start(connection)
    wait_until(lambda: len(connection.pushed) == 1)
    assert connection.calls.count("open") == 1
    assert connection.calls.count("reconnect") == 1


def test_a_ca_file_that_is_being_replaced_is_read_later(start):
    connection = FakeConnection(open=reasons("certificate", "certificate"), reconnect=[FULL])
    site = start(connection)
    wait_until(lambda: site.health.ready)
    assert connection.calls.count("reconnect") == 2


def test_a_session_is_gone_on_with_only_where_the_server_holds_one(tmp_path):
    FleetSite(tmp_path, SERVER, connection=FakeConnection()).record.opened(6)
    connection = FakeConnection(open=reasons("unknown", "busy"))
    with FleetSite(tmp_path, SERVER, connection=connection) as site:
        wait_until(lambda: site.health.ready)
    assert connection.calls[:3] == ["open", "open", "resume 6"]


def test_a_session_record_that_cannot_be_written_keeps_no_site_from_its_session(tmp_path, monkeypatch, caplog):
    site = FleetSite(tmp_path, SERVER, connection=FakeConnection())

    def full(node: int) -> None:
        raise FULL

    monkeypatch.setattr(site.record, "opened", full)
    with site:
        wait_until(lambda: site.health.ready)
    assert "the disk is full" in caplog.text


def test_a_site_that_gives_up_its_work_ends_without_an_error(tmp_path):
    def train(message, context):
        raise StopNow

    connection = FakeConnection()
    connection.inbox.append(delivery())
    FleetSite(tmp_path, SERVER, train, connection=connection).loop.run()
    assert connection.calls[-1] == "leave"
    assert is_refusal(connection.pushed[0])


@pytest.mark.parametrize("failure", [LOST, *reasons("unknown")])
def test_a_site_that_cannot_say_goodbye_ends_all_the_same(tmp_path, failure):
    def train(message, context):
        site.loop.stop()
        return CountingApp()(message, context)

    connection = FakeConnection(leave=[failure])
    connection.inbox.append(delivery())
    site = FleetSite(tmp_path, SERVER, train, connection=connection)
    site.loop.run()
    assert connection.calls[-1] == "leave"
    assert site.record.open_node == 7  # the session may go on: it is taken up at the next start
