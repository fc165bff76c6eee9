"""A site that is told to leave: after its round, at once, and what the server is told meanwhile."""

from __future__ import annotations

import threading

import pytest
from fake_connection import LOST, SERVER, FakeConnection
from fleet_server import wait_until
from fleet_site import CountingApp, FleetSite, delivery

from sealora_client.fleet.connection import Delivery
from sealora_client.fleet.flower import Metadata, Reply


def asked(number: int, stage: str) -> Delivery:
    """A message of a stage."""
    made = delivery(number)
    former = made.metadata
    metadata = Metadata(
        run_id=former.run_id,
        message_id=former.message_id,
        src_node_id=former.src_node_id,
        dst_node_id=former.dst_node_id,
        reply_to_message_id="",
        group_id="",
        created_at=former.created_at,
        ttl=former.ttl,
        message_type=stage,
    )
    return Delivery(metadata, made.tree)


def test_a_site_in_no_round_leaves_with_a_goodbye(start):
    connection = FakeConnection()
    site = start(connection)
    wait_until(lambda: "pull" in connection.calls)
    site.loop.leave(True)
    wait_until(lambda: site.is_over)
    assert connection.calls[-1] == "leave"


def test_a_site_in_a_round_ends_it_and_takes_no_other(start):
    connection = FakeConnection()
    connection.inbox.append(asked(1, "train"))
    site = start(connection)
    wait_until(lambda: len(connection.pushed) == 1)
    site.loop.leave(True)
    connection.inbox += [asked(2, "query.mask"), asked(3, "train"), asked(4, "query.open")]
    wait_until(lambda: len(connection.pushed) == 4)
    assert [reply.is_refusal for reply in connection.pushed] == [False, False, True, False]
    assert site.app.asked == ["train", "query.mask", "query.open"]
    assert not site.is_over
    site.loop.leave(True)  # as the one that looks for the wish does every second
    wait_until(lambda: site.is_over)


def test_a_wish_that_is_taken_back_leaves_no_trace(start):
    connection = FakeConnection()
    connection.inbox.append(asked(1, "train"))
    site = start(connection)
    wait_until(lambda: len(connection.pushed) == 1)
    site.loop.leave(True)
    site.loop.leave(False)
    connection.inbox += [asked(2, "query.open"), asked(3, "train")]
    wait_until(lambda: len(connection.pushed) == 3)
    assert not connection.pushed[-1].is_refusal


def test_a_round_that_nobody_goes_on_with_does_not_keep_the_site(start):
    connection = FakeConnection()
    connection.inbox.append(asked(1, "train"))
    site = start(connection, longest_pause=0.5)
    wait_until(lambda: len(connection.pushed) == 1)
    site.loop.leave(True)
    assert not site.is_over

    def has_left() -> bool:
        site.loop.leave(True)
        return site.is_over

    wait_until(has_left)


class SlowApp(CountingApp):
    """Answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()

    def __call__(self, message, context):
        answer = super().__call__(message, context)
        assert self.may_answer.wait(20)
        return answer


def test_what_is_in_hand_when_it_stops_at_once_does_not_leave(start):
    connection, app = FakeConnection(), SlowApp()
    connection.inbox.append(asked(1, "query.mask"))
    site = start(connection, app)
    wait_until(lambda: app.asked == ["query.mask"])
    site.loop.stop_now()
    app.may_answer.set()
    wait_until(lambda: site.is_over)
    assert [reply.is_refusal for reply in connection.pushed] == [True]
    assert connection.calls[-1] == "leave"


def test_each_answer_is_told_of_once_before_it_is_sent_however_often_it_is_tried(start):
    connection, told = FakeConnection(push=[LOST] * 3), []

    def note(reply: Reply) -> None:
        told.append((reply, len(connection.pushed)))

    connection.inbox.append(asked(1, "train"))
    start(connection, on_sending=note)
    wait_until(lambda: len(connection.pushed) == 1)
    assert told == [(connection.pushed[0], 0)]
    assert connection.pushed[0].size > 0


@pytest.mark.parametrize("stage", ["query.hello", "query.held", "query.deliver"])
def test_a_server_that_goes_on_asking_does_not_keep_the_site(start, stage):
    connection = FakeConnection()
    connection.inbox.append(asked(1, "train"))
    site = start(connection, longest_pause=0.5)
    wait_until(lambda: len(connection.pushed) == 1)
    numbers = iter(range(2, 10_000))

    def has_left() -> bool:
        site.loop.leave(True)
        if not connection.inbox:
            connection.inbox.append(asked(next(numbers), stage))
        return site.is_over

    wait_until(has_left, 10)


def test_a_round_of_a_run_that_was_given_up_does_not_keep_the_site(start):
    connection = FakeConnection()
    other = asked(1, "train")
    other.metadata.__dict__["_run_id"] = 99
    connection.inbox += [other, asked(2, "train"), asked(3, "query.open")]
    site = start(connection)
    wait_until(lambda: len(connection.pushed) == 3)

    def has_left() -> bool:
        site.loop.leave(True)
        return site.is_over

    wait_until(has_left)


def test_a_site_that_is_told_before_it_begins_does_not_connect(tmp_path):
    connection = FakeConnection()
    site = FleetSite(tmp_path, SERVER, connection=connection)
    site.loop.stop_now()
    with site:
        wait_until(lambda: site.is_over)
    assert connection.calls == []
