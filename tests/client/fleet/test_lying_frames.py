"""A site against a server that lies in frames: parts that are cut, too many, or of something else, and frames that are
spoken in one answer and not in the next."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fleet_server import wait_until
from fleet_site import FleetSite, new_key
from flwr.app import ConfigRecord, RecordDict
from flwr.proto import fleet_pb2
from flwr.proto.message_pb2 import PullObjectResponse, PushObjectRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lying_server import NODE, Asked, LyingServer, greeting

from sealora_client.fleet import flower
from sealora_client.fleet.connection import FleetConnection
from sealora_client.fleet.errors import BadMessageError, LostConnectionError, RunEndedError, SessionRefusedError
from sealora_client.fleet.question import Question
from sealora_client.fleet.stop import StopFlag
from sealora_client.fleet.transport import bounds_of
from sealora_common.network.bounded_http import AnswerBounds
from sealora_common.network.frames import FRAMES, MOST_PARTS, PARTS_BYTES, from_frames, to_frames

KEY = new_key()
EXPECTED = (BadMessageError, LostConnectionError, RunEndedError, SessionRefusedError)
IN_FRAMES = {"content-type": FRAMES}


@pytest.fixture
def server() -> Iterator[LyingServer]:
    with LyingServer() as lying:
        yield lying


@pytest.fixture
def site(server: LyingServer, tmp_path: Path) -> Iterator[FleetSite]:
    with FleetSite(tmp_path, server.address) as at_work:
        wait_until(lambda: at_work.health.ready)
        yield at_work


@pytest.fixture
def connection(server: LyingServer) -> Iterator[FleetConnection]:
    opened = FleetConnection(server.address, KEY, None)
    opened.open()
    yield opened
    opened.close()


def part(content: bytes) -> bytes:
    return PullObjectResponse(object_found=True, object_available=True, object_content=content).SerializeToString()


def framed(server: LyingServer, order: fleet_pb2.PullMessagesResponse, parts: list[bytes]) -> None:
    """Hands out an order once, with these parts beside it; nothing after that."""
    answers = [to_frames([order.SerializeToString(), *parts])]

    def lie(asked: Asked, _: bytes) -> None:
        asked.whole(answers.pop() if answers else to_frames([b""]), headers=IN_FRAMES)

    server.lies["pull-messages"] = lie


def message_id(order: fleet_pb2.PullMessagesResponse) -> str:
    return str(order.messages_list[0].metadata.message_id)


def takes_frames(server: LyingServer) -> None:
    """Has it take an answer in frames."""

    def push(asked: Asked, content: bytes) -> None:
        if asked.headers["content-type"] == FRAMES:
            content = from_frames(content)[0]
        asked.proto(server.honestly("push-messages", content))

    server.lies["push-messages"] = push


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a length that is cut": b"\0\0",
    "a frame that is cut": b"\0\0\0\x09abc",
    "a frame of four gigabytes": b"\xff" * 4,
    "frames in a frame": to_frames([to_frames([b"", b""])]),
    "no message": to_frames([b"\xff" * 9]),
    "two million frames": bytes((8 << 20) - 4096),
    "more than any list": bytes(9 << 20),
}


@pytest.mark.parametrize("body", BODIES)
def test_whatever_comes_in_frames_the_site_stays(server: LyingServer, site: FleetSite, body: str, caplog: Any) -> None:
    server.lies["pull-messages"] = lambda asked, _: asked.whole(BODIES[body], headers=IN_FRAMES)
    asked = len(server.asked)
    wait_until(lambda: server.asked[asked:].count("pull-messages") > 2)
    order = server.order()
    framed(server, order, [part(content) for content in server.objects.values()])
    takes_frames(server)
    wait_until(lambda: message_id(order) in server.replies)
    assert site.app.asked == ["query.hello"]  # type: ignore[attr-defined]
    assert "pull-object" not in server.asked
    assert not [record for record in caplog.records if record.exc_info]
    assert "unpack" not in caplog.text


PARTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "of another message": lambda parts: [*parts, part(b"ConfigRecord  2\0{}")],
    "of no kind": lambda parts: [part(b"nonsense"), part(b""), *parts],
    "twice": lambda parts: [*parts, *parts],
    "in another order": lambda parts: parts[::-1],
    "changed": lambda parts: [parts[0], part(PullObjectResponse.FromString(parts[1]).object_content + b"!"), parts[2]],
    "missing": lambda parts: parts[:1],
    "that are said not to be found": lambda parts: [
        PullObjectResponse(object_content=PullObjectResponse.FromString(each).object_content).SerializeToString()
        for each in parts
    ],
}


@pytest.mark.parametrize("which", PARTS)
def test_parts_are_what_the_tree_names_and_the_rest_is_let_go(
    server: LyingServer, connection: FleetConnection, which: str
) -> None:
    order = server.order()
    honest = [part(content) for content in server.objects.values()]
    framed(server, order, PARTS[which](honest))
    delivery = connection.pull(held=True)
    assert delivery is not None
    message = connection.fetch(delivery)
    assert message.content.config_records["config"]["payload"] == b"hello"
    assert delivery.contents == {}
    false = {"changed": 1, "missing": len(honest) - 1}.get(which, 0)
    assert server.asked.count("pull-object") == false
    assert server.asked.count("confirm-message-received") == (1 if which in ("changed", "missing") else 0)


def test_parts_that_came_along_are_held_to_the_rules_of_those_that_are_fetched(
    server: LyingServer, connection: FleetConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealora_client.fleet.hostile.LARGEST_STRUCTURE", 16)
    order = server.order()
    framed(server, order, [part(content) for content in server.objects.values()])
    delivery = connection.pull(held=True)
    assert delivery is not None
    with pytest.raises(BadMessageError, match="larger than any of its kind"):
        connection.fetch(delivery)


def test_what_came_along_counts_as_the_message_s_bytes(
    server: LyingServer, connection: FleetConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = server.order(1, RecordDict({"config": ConfigRecord({"payload": bytes(2000), "other": bytes(2000)})}))
    *first, last = server.objects.values()
    framed(server, order, [part(content) for content in (*first, last) if len(content) > 1000])
    monkeypatch.setattr("sealora_client.fleet.connection.LARGEST_MESSAGE", 4200)
    delivery = connection.pull(held=True)
    assert delivery is not None
    with pytest.raises(BadMessageError, match="larger than any order"):
        connection.fetch(delivery)


def test_a_message_whose_bytes_say_another_sender_is_that_of_the_pull(
    server: LyingServer, connection: FleetConnection
) -> None:
    order = server.order()
    order.messages_list[0].metadata.group_id = "told"
    server.orders.append(order)
    delivery = connection.pull(held=True)
    assert delivery is not None
    assert connection.fetch(delivery).metadata.group_id == "told"


def pushed(server: LyingServer) -> list[tuple[str, int]]:
    """From now on: each push's media type, and how many parts came with it; frames are refused."""
    seen: list[tuple[str, int]] = []

    def push(asked: Asked, content: bytes) -> None:
        kind = str(asked.headers["content-type"])
        seen.append((kind, len(from_frames(content)) - 1 if kind == FRAMES else 0))
        if kind == FRAMES:
            asked.whole(b"", status=400)
        else:
            asked.proto(server.honestly("push-messages", content))

    server.lies["push-messages"] = push
    return seen


def test_an_answer_goes_in_frames_only_to_who_spoke_them_last(server: LyingServer, connection: FleetConnection) -> None:
    seen = pushed(server)
    reply = flower.Reply.of(greeting(3))
    connection.push(reply, 0.0)
    framed(server, server.order(), [])
    connection.pull(held=True)
    server.lies.pop("pull-messages")
    connection.pull(held=True)
    connection.push(reply, 0.0)
    assert [kind == FRAMES for kind, _ in seen] == [False, False]


def test_a_server_that_spoke_frames_and_takes_none_gets_the_answer_as_flower_s(
    server: LyingServer, site: FleetSite
) -> None:
    """As one that was replaced while the site trained; or else the answer would be refused until its time is up."""
    seen = pushed(server)
    order = server.order()
    framed(server, order, [part(content) for content in server.objects.values()])
    wait_until(lambda: message_id(order) in server.replies)
    assert [kind == FRAMES for kind, _ in seen] == [True, False]
    assert seen[0][1] == 3
    assert site.app.asked == ["query.hello"]  # type: ignore[attr-defined]


def test_an_answer_s_parts_travel_in_the_node_s_name_and_are_not_sent_again(
    server: LyingServer, connection: FleetConnection
) -> None:
    bodies: list[list[bytes]] = []

    def push(asked: Asked, content: bytes) -> None:
        bodies.append(from_frames(content))
        asked.proto(fleet_pb2.PushMessagesResponse())

    framed(server, server.order(), [])
    server.lies["push-messages"] = push
    connection.pull(held=True)
    reply = flower.Reply.of(greeting(3))
    for _ in range(2):
        connection.push(reply, 0.0)
    parts = [PushObjectRequest.FromString(each) for each in bodies[1][1:]]
    assert {each.object_id: each.object_content for each in parts} == reply.contents
    assert {each.node.node_id for each in parts} == {NODE}
    assert "push-object" not in server.asked


def test_a_list_of_a_million_parts_to_push_is_not_kept(server: LyingServer, connection: FleetConnection) -> None:
    reply = flower.Reply.of(greeting(3))
    named = [*reply.contents, *(f"{number:x}" for number in range(600_000)), *reply.contents]
    server.lies["push-messages"] = lambda asked, _: asked.proto(fleet_pb2.PushMessagesResponse(objects_to_push=named))
    connection.push(reply, 0.0)
    assert server.asked.count("push-object") == len(reply.contents)


def test_a_message_without_end_is_answered_with_a_pause_between(server: LyingServer, site: FleetSite) -> None:
    order = server.order()
    server.lies["pull-messages"] = lambda asked, _: asked.proto(order)
    wait_until(lambda: message_id(order) in server.replies)
    before, started = server.asked.count("pull-messages"), time.monotonic()
    time.sleep(0.5)
    asked = server.asked.count("pull-messages") - before
    assert asked <= (time.monotonic() - started) / 0.02 + 2  # the test's shortest pause
    assert site.app.asked == ["query.hello"]  # type: ignore[attr-defined]


def test_an_answer_that_comes_after_the_wish_to_stop_is_not_worked_on(server: LyingServer, tmp_path: Path) -> None:
    asked_for, stopped = threading.Event(), threading.Event()
    order = server.order()

    def late(asked: Asked, _: bytes) -> None:
        asked_for.set()
        stopped.wait(20)
        asked.proto(order)

    server.lies["pull-messages"] = late
    with FleetSite(tmp_path, server.address) as site:
        assert asked_for.wait(20)
        started = time.monotonic()
    assert time.monotonic() - started < 10  # the question is held for longer
    stopped.set()
    assert "deactivate-node" in server.asked
    assert site.app.asked == []  # type: ignore[attr-defined]


def test_a_question_that_is_held_beyond_what_was_asked_is_given_up_and_asked_again(
    server: LyingServer, tmp_path: Path
) -> None:
    marks: list[str] = []

    def hold(asked: Asked, _: bytes) -> None:
        marks.append(str(asked.headers["sealora-pull-id"]))
        time.sleep(2)

    key = new_key()
    hurried = FleetConnection(server.address, key, None, bounds=lambda _: AnswerBounds(0.3, 1 << 20))
    server.lies["pull-messages"] = hold
    with FleetSite(tmp_path, server.address, key=key, connection=hurried):
        wait_until(lambda: len(marks) > 2)
        assert len(set(marks)) == 1  # the same question
        order = server.order()
        server.lies.clear()
        server.orders.append(order)
        wait_until(lambda: message_id(order) in server.replies)


def test_many_lies_leave_no_descriptor_and_no_thread(server: LyingServer, connection: FleetConnection) -> None:
    stop = StopFlag()

    def own() -> set[str]:
        return {each for each in os.listdir("/proc/self/fd") if "pipe" in _target(each)}

    server.lies["pull-messages"] = lambda asked, _: asked.whole(b"\0\0\0\x09", headers=IN_FRAMES)
    before = own()
    for _ in range(200):
        with pytest.raises(LostConnectionError):
            Question(partial(connection.pull, held=True)).wait(stop)
    wait_until(lambda: not [each for each in threading.enumerate() if each.name == "question"])
    assert len(own()) <= len(before)


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


frames = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.builds(part, st.binary(max_size=60)),
        st.sampled_from(["ConfigRecord  2\0{}", "Message a 0\0", "Array  2\0{}"]).map(lambda text: part(text.encode())),
    ),
    max_size=6,
)


@given(frames, st.booleans(), st.booleans(), st.integers(0, 40))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_parts_come_they_are_a_message_or_an_error_that_the_loop_knows(
    server: LyingServer, connection: FleetConnection, parts: list[bytes], honest: bool, first: bool, cut: int
) -> None:
    order = server.order()
    if honest:
        parts = [*parts, *(part(content) for content in server.objects.values())]
    body = to_frames([order.SerializeToString() if first else b"", *parts])
    server.lies["pull-messages"] = lambda asked, _: asked.whole(body[: len(body) - cut], headers=IN_FRAMES)
    try:
        delivery = connection.pull(held=True)
        if delivery is not None:
            connection.fetch(delivery)
            assert set(delivery.contents) <= set(server.objects)
    except EXPECTED:
        pass


def test_what_a_site_reads_is_no_less_than_what_a_server_sends() -> None:
    assert (
        bounds_of(httpx.Request("POST", "https://server/v1/fleet/pull-messages")).size > PARTS_BYTES + 100 * MOST_PARTS
    )
