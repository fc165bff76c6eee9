"""A site against a server that lies in every answer: an order is refused or asked for again, and the site stays."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from fleet_server import wait_until
from fleet_site import FleetSite, new_key
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.proto import message_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lying_server import RESPONSES, Asked, LyingServer, greeting

from quick_cases import quick_cases
from sealora_client.fleet import flower, hostile
from sealora_client.fleet.connection import FleetConnection
from sealora_client.fleet.errors import BadMessageError, LostConnectionError, RunEndedError, SessionRefusedError
from sealora_common.network.bounded_http import AnswerBounds

KEY = new_key()
EXPECTED = (BadMessageError, LostConnectionError, RunEndedError, SessionRefusedError)


@pytest.fixture
def server():
    with LyingServer() as lying:
        yield lying


@pytest.fixture
def site(server, tmp_path):
    with FleetSite(tmp_path, server.address) as at_work:
        wait_until(lambda: at_work.health.ready)
        yield at_work


def answers_an_honest_order(server: LyingServer, number: int = 99) -> bool:
    server.lies.clear()
    order = server.order(number)
    server.orders.append(order)
    message_id = order.messages_list[0].metadata.message_id
    wait_until(lambda: message_id in server.replies)
    return True


def refused(server: LyingServer, order: Any) -> bool:
    """Whether an order was answered by a refusal, once it is handed out."""
    server.orders.append(order)
    message_id = order.messages_list[0].metadata.message_id
    wait_until(lambda: message_id in server.replies)
    return True


def whole(content: bytes, **options: Any) -> Callable[[Asked, bytes], None]:
    return lambda asked, _: asked.whole(content, **options)


def proto(action: str, **fields: Any) -> Callable[[Asked, bytes], None]:
    return lambda asked, _: asked.proto(RESPONSES[action](**fields))


BODIES = {
    "nothing": whole(b""),
    "text": whole(b"<html>welcome</html>"),
    "a truncated protobuf": whole(b"\x0a\xff\xff\xff\x0f\x01"),
    "a length that is a lie": lambda asked, _: (
        asked.head(1000),
        asked.wfile.write(b"\x0a"),
        asked.connection.shutdown(2),
    ),
    "a compressed body": whole(b"\x1f\x8b\x08", headers={"content-encoding": "gzip"}),
    "a redirect": whole(b"", status=302, headers={"location": "http://127.0.0.1:1/"}),
    "an error in JSON that nests": whole(b"[" * 60_000, status=400),
    "an error whose code is no number": whole(b'{"code": {"a": 1}, "detail": []}', status=403),
    "unauthorised, at no time": whole(b"", status=401, headers={"date": "Mon, 01 Jan 0001 00:00:00 -0000"}),
    "unauthorised, at rubbish": whole(b"", status=401, headers={"date": "\xff" * 50}),
    "no HTTP": lambda asked, _: asked.wfile.write(b"SSH-2.0-server\r\n\r\n"),
    "no status": lambda asked, _: asked.wfile.write(b"HTTP/1.1 abc\r\n\r\n"),
    "a charset of its own": whole(b"\xff", status=400, headers={"content-type": "text/plain; charset=none"}),
}


@pytest.mark.parametrize("body", BODIES)
def test_no_answer_of_any_kind_ends_the_site(server, site, body, caplog):
    for action in RESPONSES:
        server.lies[action] = BODIES[body]
    asked = len(server.asked)
    wait_until(lambda: len(server.asked) > asked + 4)
    assert answers_an_honest_order(server)
    assert not [record for record in caplog.records if record.exc_info]


METADATA: dict[str, Callable[[Any], Any]] = {
    "no id": lambda m: m.ClearField("message_id"),
    "an id of a megabyte": lambda m: setattr(m, "message_id", "a" * (1 << 20)),
    "an id that is a path": lambda m: setattr(m, "message_id", "../" * 21 + "a"),
    "another node": lambda m: setattr(m, "dst_node_id", 8),
    "an unknown kind": lambda m: setattr(m, "message_type", "query.rm"),
    "no kind": lambda m: m.ClearField("message_type"),
    "a group of a megabyte": lambda m: setattr(m, "group_id", "g" * (1 << 20)),
    "a ttl that is no number": lambda m: setattr(m, "ttl", float("nan")),
    "a ttl without end": lambda m: setattr(m, "ttl", float("inf")),
    "a ttl below zero": lambda m: setattr(m, "ttl", -1.0),
    "a time that is no number": lambda m: setattr(m, "created_at", float("nan")),
    "no fields at all": lambda m: m.Clear(),
}


@pytest.mark.parametrize("case", METADATA)
def test_a_message_whose_metadata_is_no_message_s_is_not_taken(server, site, case):
    order = server.order()
    METADATA[case](order.messages_list[0].metadata)
    server.orders.append(order)
    assert answers_an_honest_order(server)
    assert len(server.replies) == 1


def test_a_message_without_a_tree_is_refused(server, site):
    order = server.order()
    order.ClearField("message_object_trees")
    assert refused(server, order)
    assert answers_an_honest_order(server)
    assert site.app.asked == ["query.hello"]


def id_of(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def structure(kind: str, children: list[str], body: bytes) -> bytes:
    return f"{kind} {','.join(children)} {len(body)}".encode() + b"\0" + body


def test_objects_that_contain_themselves_are_refused(server, site):
    order = server.order()
    root = order.message_object_trees[0].object_id
    (child,) = (node.object_id for node in order.message_object_trees[0].children)
    server.objects[child] = structure("RecordDict", [root], b"{}")
    assert refused(server, order)
    assert answers_an_honest_order(server)
    assert site.app.asked == ["query.hello"]


def test_a_million_invented_objects_are_not_asked_for(server, site):
    order = server.order()
    ids = [hashlib.sha256(bytes([number % 256, number // 256])).hexdigest() for number in range(hostile.MOST_OBJECTS)]
    order.message_object_trees[0].children.extend([message_pb2.ObjectTree(object_id=i) for i in ids])
    assert refused(server, order)
    assert server.asked.count("pull-object") == 0
    # A real million is not even read: its list is longer than any.
    million = b"\x12" + b"\xff\xff\xff\x1f" + b"\0" * 70_000_000
    server.lies["pull-messages"] = whole(million)
    asked = len(server.asked)
    wait_until(lambda: len(server.asked) > asked + 3)
    assert answers_an_honest_order(server)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"nonsense", b"Message  x\0", b"ConfigRecord  0\0", b"\xff\xfe \0", structure("ArrayChunk", [], b"x")],
)
def test_an_object_of_other_bytes_is_refused(server, site, content):
    order = server.order()
    for object_id in server.objects:
        server.objects[object_id] = content
    assert refused(server, order)
    assert answers_an_honest_order(server)


def test_an_array_that_names_one_chunk_without_end_is_refused(server, site, monkeypatch):
    monkeypatch.setattr("sealora_client.fleet.connection.LARGEST_MESSAGE", 1 << 20)
    order = server.order(1, RecordDict({"arrays": ArrayRecord({"adapter": Array(np.ones(1000, np.float32))})}))
    array = next(content for content in server.objects.values() if content.startswith(b"Array "))
    record = next(content for content in server.objects.values() if content.startswith(b"ArrayRecord "))
    records = next(content for content in server.objects.values() if content.startswith(b"RecordDict "))
    body = json.loads(array.partition(b"\0")[2])
    body["arraychunk_ids"] = [0] * 100_000
    chunk = array.split(b" ")[1].decode()
    # Every id is made anew, so that each object is what its id says.
    bomb = structure("Array", [chunk], json.dumps(body).encode())
    outer = record.replace(id_of(array), id_of(bomb))
    dictionary = records.replace(id_of(record), id_of(outer))
    message = next(content for content in server.objects.values() if content.startswith(b"Message "))
    root = message.replace(id_of(records), id_of(dictionary))
    tree = message_pb2.ObjectTree(object_id=id_of(root).decode())
    for content in (bomb, outer, dictionary, root, server.objects[chunk]):
        server.objects[id_of(content).decode()] = content
        tree.children.append(message_pb2.ObjectTree(object_id=id_of(content).decode()))
    order.message_object_trees[0].CopyFrom(tree)
    assert refused(server, order)
    assert site.app.asked == []


def test_a_server_that_asks_for_the_same_part_for_ever_gets_it_once(server, site):
    order = server.order()
    message_id = order.messages_list[0].metadata.message_id

    def everything(asked: Asked, content: bytes) -> None:
        response = server.honestly("push-messages", content)
        root = server.replies[message_id].metadata.message_id
        response.objects_to_push.extend([root] * 10_000 + ["00" * 32, "", "../../etc/passwd"])
        asked.proto(response)

    server.lies["push-messages"] = everything
    assert refused(server, order)
    wait_until(lambda: "push-object" in server.asked)
    assert answers_an_honest_order(server)
    assert server.asked.count("push-object") <= 2


DRIPS: dict[str, Callable[[Asked, bytes], None]] = {
    "a head": lambda asked, _: asked.drip(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000, every=0.05),
    "a body": lambda asked, _: (asked.head(10_000), asked.drip(b"\0" * 10_000, every=0.05)),
    "interim answers": lambda asked, _: asked.drip(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, every=0.01),
    "chunks": lambda asked, _: (
        asked.wfile.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        asked.drip(b"1\r\na\r\n" * 1000, every=0.02),
    ),
    "a body without end": lambda asked, _: (
        asked.head(1 << 40),
        [asked.wfile.write(b"\0" * 65536) for _ in range(10**6)],
    ),
    "interim answers without end": lambda asked, _: [
        asked.wfile.write(b"HTTP/1.1 103 Early\r\n\r\n" * 1000) for _ in range(10**6)
    ],
}


@pytest.mark.parametrize(
    "action", quick_cases(["pull-messages", "pull-object", "push-messages", "send-node-heartbeat"], "pull-messages")
)
@pytest.mark.parametrize("kind", DRIPS)
def test_no_exchange_lasts_longer_than_its_bounds(server, tmp_path, kind, action):
    key = new_key()
    hurried = FleetConnection(server.address, key, None, bounds=lambda _: AnswerBounds(0.4, 1 << 20))
    with FleetSite(tmp_path, server.address, key=key, connection=hurried) as site:
        wait_until(lambda: site.health.ready)
        order = server.order()
        server.orders.append(order)
        server.lies[action] = DRIPS[kind]
        connection, started = site.connection, time.monotonic()
        calls = {
            "pull-messages": partial(connection.pull, held=True),
            "send-node-heartbeat": connection.heartbeat,
            "pull-object": lambda: connection._calls._client.PullObject(message_pb2.PullObjectRequest(object_id="a")),
            "push-messages": lambda: connection.push(flower.Reply.of(greeting(3)), 0.0),
        }
        with pytest.raises(Exception, match=r"longer than|larger than|no answer in time|timed out"):
            calls[action]()
        assert time.monotonic() - started < 5.0  # of a busy machine; without bounds it would be minutes
        assert answers_an_honest_order(server)


def messages() -> st.SearchStrategy[bytes]:
    """Bytes that are, or nearly are, a protobuf message."""
    some = st.builds(
        b"".join,
        st.lists(
            st.builds(
                lambda number, kind, content: (
                    bytes([(number << 3) | kind]) + (bytes([len(content)]) + content if kind == 2 else content)
                ),
                st.integers(1, 6),
                st.sampled_from([0, 1, 2, 5]),
                st.binary(max_size=60),
            ),
            max_size=6,
        ),
    )
    return st.one_of(st.binary(max_size=300), some)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_come_they_are_an_error_that_the_loop_knows(server, tmp_path, data):
    server.lies.clear()
    connection = FleetConnection(server.address, KEY, None)
    connection.open()
    order = server.order()
    action = data.draw(st.sampled_from(sorted(RESPONSES)))
    status = data.draw(st.sampled_from([200, 200, 200, 201, 400, 401, 403, 404, 413, 429, 500]))
    server.lies[action] = whole(data.draw(messages()), status=status)
    try:
        connection.open()
        connection.heartbeat()
        server.orders[:] = [order]
        delivery = connection.pull(held=True)
        if delivery is not None:
            connection.fetch(delivery)
        connection.push(flower.Reply.of(greeting(3)), 0.0)
        connection.leave()
    except EXPECTED:
        pass  # any other error fails the test
    finally:
        connection.close()
