"""Answers that come in pieces, not at all, or as something else: none of them holds up another, none ends the run.

Against the real gate on a Unix socket; the sites' side is in the tests' hands.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fleet_bench import Answer, message_of
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity

from sealora_server.deployment.runs import socket_grid
from sealora_server.deployment.runs.socket_grid import SocketGrid
from sealora_server.deployment.superlink import app_messages
from sealora_server.deployment.superlink.app_messages import LARGEST_PART
from sealora_server.deployment.superlink.questions import ids_of
from sealora_server.node_keys import KeyedGrid, NodeSession

from grid_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "s")
    yield bench
    bench.stop()


@contextmanager
def grid_of(bench: Bench, socket: Path, **options: Any) -> Iterator[SocketGrid]:
    TaskIdentity.run_id, TaskIdentity.node_id = bench.the_run, 1
    TaskIdentity.task_id = bench.state.get_run_info(run_ids=[bench.the_run])[0].primary_task_id
    grid = SocketGrid(socket, bench.tokens[bench.the_run], **options)
    grid.set_run(bench.state.get_run_info(run_ids=[bench.the_run])[0])
    assert bench.own in grid.node_sessions()
    with closing(grid):
        yield grid


@pytest.fixture
def grid(bench: Bench, tmp_path: Path) -> Iterator[SocketGrid]:
    with grid_of(bench, tmp_path / "s") as grid:
        yield grid


def order(grid: SocketGrid, node: int, content: RecordDict | None = None) -> str:
    """Sends an order; its name."""
    record = content or RecordDict({"config": ConfigRecord({"payload": b"order"})})
    [name] = grid.push_messages([Message(record, node, "query.hello", ttl=600.0)])
    return str(name)


def answered(grid: SocketGrid, bench: Bench, payload: bytes = b"answer", node: int | None = None) -> tuple[str, Answer]:
    """An order, and what a node may answer to it."""
    node = node or bench.own
    name = order(grid, node)
    return name, bench.answer(node, bench.the_run, name, payload)


def payload(message: Message) -> object:
    return message.content.config_records["config"]["payload"]


@pytest.mark.slow
def test_a_whole_answer_is_handed_on_and_let_go(grid: SocketGrid, bench: Bench) -> None:
    asked, answer = answered(grid, bench)
    assert grid.pull_messages([asked]) == []
    bench.push(bench.own, answer)
    bench.asked.clear()
    [message] = grid.pull_messages([asked])
    assert payload(message) == b"answer"
    assert (message.metadata.reply_to_message_id, message.metadata.message_id) == (asked, answer.message_id)
    assert bench.asked == ["pull-messages"]  # with all its parts
    assert answer.message_id not in bench.state.object_store
    assert grid.pull_messages([]) == []


def test_a_large_part_is_fetched_and_then_confirmed(grid: SocketGrid, bench: Bench) -> None:
    asked, answer = answered(grid, bench, bytes(LARGEST_PART + 1))
    bench.push(bench.own, answer)
    bench.asked.clear()
    [message] = grid.pull_messages([asked])
    assert payload(message) == bytes(LARGEST_PART + 1)
    assert bench.asked == ["pull-messages", "pull-object", "confirm-message-received"]
    assert answer.message_id not in bench.state.object_store


def test_an_answer_that_has_not_come_whole_holds_up_no_other(grid: SocketGrid, bench: Bench) -> None:
    other = bench.node()
    orders = grid.push_messages([Message(RecordDict(), node, "query.hello", ttl=600.0) for node in (bench.own, other)])
    slow, quick = list(orders)
    late = bench.answer(bench.own, bench.the_run, slow, b"slow")
    session = bench.begin(late)
    first, *rest = late.parts.items()
    bench.add(session, *first)
    bench.push(other, bench.answer(other, bench.the_run, quick, b"quick"))
    assert [payload(message) for message in grid.pull_messages([slow, quick])] == [b"quick"]
    bench.asked.clear()
    assert grid.pull_messages([slow]) == []
    assert set(bench.asked) == {"pull-object"}  # it is Flower's no more: asked for again, it would be an error
    for name, content in rest:
        bench.add(session, name, content)
    bench.asked.clear()
    assert [payload(message) for message in grid.pull_messages([slow])] == [b"slow"]
    assert bench.asked == ["pull-object"] * len(rest) + ["confirm-message-received"]  # no part comes twice


def test_an_answer_of_many_crumbs_holds_up_no_other(bench: Bench, tmp_path: Path, monkeypatch: Any) -> None:
    """A member may answer in ten thousand parts; one that is not carried along is a request each."""
    monkeypatch.setattr(app_messages, "PARTS_ROOM", 0)
    with grid_of(bench, tmp_path / "s", parts_at_once=2) as grid:
        orders = grid.push_messages([Message(RecordDict(), node, "query.hello", ttl=600.0) for node in bench.two()])
        crumbs, quick = list(orders)
        bench.push(bench.own, bench.answer(bench.own, bench.the_run, crumbs, b"crumbs"))
        bench.asked.clear()
        assert grid.pull_messages([crumbs, quick]) == []
        assert bench.asked == ["pull-messages", "pull-object", "pull-object"]
        bench.asked.clear()
        assert [payload(message) for message in grid.pull_messages([crumbs])] == [b"crumbs"]
        assert bench.asked == ["pull-object", "confirm-message-received"]


def test_while_an_answer_is_under_way_a_question_is_not_held(grid: SocketGrid, bench: Bench, monkeypatch: Any) -> None:
    asked_with: list[int] = []
    ask = grid._framed

    def framed(path: str, frames: Any, wait: int = 0) -> list[bytes]:
        asked_with.append(wait)
        return ask(path, frames, wait)

    orders = list(grid.push_messages([Message(RecordDict(), node, "query.hello", ttl=600.0) for node in bench.two()]))
    bench.begin(bench.answer(bench.own, bench.the_run, orders[0]))
    monkeypatch.setattr(grid, "_framed", framed)
    assert grid.pull_messages(orders) == []
    assert grid.pull_messages(orders) == []
    assert asked_with == [socket_grid.HELD_SECONDS, 0]


def test_an_answer_whose_parts_are_gone_becomes_an_error(grid: SocketGrid, bench: Bench) -> None:
    asked, answer = answered(grid, bench)
    bench.begin(answer)
    assert grid.pull_messages([asked]) == []
    bench.state.object_store.delete(answer.message_id)
    [message] = grid.pull_messages([asked])
    assert message.has_error()
    assert message.metadata.reply_to_message_id == asked
    assert "do not make a message" in message.error.reason


def part(kind: str, children: list[str], body: bytes) -> bytes:
    return f"{kind} {','.join(children)} {len(body)}".encode() + b"\x00" + body


NONSENSE = {
    "no message": lambda: [part("ConfigRecord", [], b"")],
    "a message without metadata": lambda: [part("Message", [], b"\xff" * 20)],
    "a message of nothing": lambda: [part("Message", [], b"")],
    "a record that is none": lambda: _nested(part("RecordDict", [], b"{")),
    "records that are no records": lambda: _nested(part("ConfigRecord", [], b"\xff\xff")),
    "an array that is none": lambda: _nested(part("Array", [], b"\xff\xff")),
}


def _nested(inner: bytes) -> list[bytes]:
    return [inner, part("Message", [hashlib.sha256(inner).hexdigest()], b"")]


@pytest.mark.parametrize("what", NONSENSE)
def test_an_answer_that_is_none_becomes_an_error(grid: SocketGrid, bench: Bench, what: str) -> None:
    asked, answer = answered(grid, bench)
    contents = NONSENSE[what]()
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    root = answer.request.message_object_trees[0]
    root.Clear()
    root.object_id = answer.request.messages_list[0].metadata.message_id = names[-1]
    if len(names) == 2:
        root.children.add(object_id=names[0])
    answer.parts = dict(zip(names, contents, strict=True))
    assert bench.push(bench.own, answer).body != b""
    [message] = grid.pull_messages([asked])
    assert message.has_error()
    assert (message.metadata.reply_to_message_id, message.metadata.src_node_id) == (asked, bench.own)
    assert grid.pull_messages([]) == []


def test_whose_answer_it_is_says_the_superlink_and_not_the_answer(grid: SocketGrid, bench: Bench) -> None:
    asked, answer = answered(grid, bench)
    claims = message_of(bench.the_run, 12, 1, "another order", b"claims", 300.0)
    told = bench.answer(12, bench.the_run, "another order", b"claims")
    assert claims.metadata.src_node_id == 12
    answer.request.message_object_trees[0].CopyFrom(told.request.message_object_trees[0])
    answer.request.messages_list[0].metadata.message_id = told.message_id
    answer.parts = told.parts
    bench.push(bench.own, answer)
    [message] = grid.pull_messages([asked])
    assert payload(message) == b"claims"
    assert message.metadata.reply_to_message_id == asked
    assert message.metadata.src_node_id == bench.own


def test_a_superlink_that_is_gone_is_not_taken_for_a_bad_answer(
    grid: SocketGrid, bench: Bench, monkeypatch: Any
) -> None:
    asked, answer = answered(grid, bench)
    session = bench.begin(answer)

    def gone(request: object) -> None:
        raise httpx.ReadError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(grid.client, "PullObject", gone)
        with pytest.raises(httpx.ReadError):
            grid.pull_messages([asked])
    for name, content in answer.parts.items():
        bench.add(session, name, content)
    assert [payload(message) for message in grid.pull_messages([asked])] == [b"answer"]


def test_a_run_that_is_over_is_not_taken_for_a_bad_answer(grid: SocketGrid, bench: Bench, monkeypatch: Any) -> None:
    asked, answer = answered(grid, bench)
    bench.begin(answer)

    def over(request: object) -> None:
        raise RunNotRunningException

    monkeypatch.setattr(grid.client, "PullObject", over)
    with pytest.raises(RunNotRunningException):
        grid.pull_messages([asked])


def test_a_token_that_is_taken_no_more_ends_the_process(bench: Bench, tmp_path: Path) -> None:
    """As Flower's own client has it: it interrupts the process, and `serverapp` goes on from there."""
    with pytest.raises(KeyboardInterrupt):
        SocketGrid(tmp_path / "s", "another token").pull_messages(["an order"])


def test_a_superlink_that_is_away_for_a_moment_is_asked_again(grid: SocketGrid, bench: Bench, monkeypatch: Any) -> None:
    ask = grid.client._client.post
    failures = [httpx.ConnectError("away"), httpx.ReadError("away")]

    def post(*given: Any, **options: Any) -> httpx.Response:
        if failures:
            raise failures.pop()
        return ask(*given, **options)

    monkeypatch.setattr(grid.client._client, "post", post)
    asked, answer = answered(grid, bench)
    bench.push(bench.own, answer)
    assert [payload(message) for message in grid.pull_messages([asked])] == [b"answer"]
    assert failures == []


def test_the_pauses_between_two_attempts_stay_short(grid: SocketGrid) -> None:
    """Or a run stands still for minutes after its SuperLink is back."""
    pauses = list(itertools.islice(grid._retry_invoker.wait_gen_factory(), 12))
    assert pauses[0] <= 0.1
    assert max(pauses) == 2


def test_a_superlink_that_stays_away_is_given_up(bench: Bench, tmp_path: Path) -> None:
    """A new process is better then than one that waits for ever."""
    grid = SocketGrid(tmp_path / "s", bench.tokens[bench.the_run], longest_outage=0.3)
    grid.set_run(bench.state.get_run_info(run_ids=[bench.the_run])[0])
    bench.stop()
    given_up: list[BaseException] = []

    def pull() -> None:
        try:
            grid.pull_messages(["an order"])
        except httpx.HTTPError as error:
            given_up.append(error)

    asking = threading.Thread(target=pull, daemon=True)
    asking.start()
    asking.join(timeout=20)
    assert given_up
    grid.close()


def test_what_was_not_whole_is_forgotten_with_the_next_messages(grid: SocketGrid, bench: Bench) -> None:
    asked, answer = answered(grid, bench)
    bench.begin(answer)
    assert grid.pull_messages([asked]) == []
    assert set(grid._arriving) == {asked}
    order(grid, bench.own)
    assert grid._arriving == {}


def test_what_is_sent_arrives_whole_large_parts_and_all(grid: SocketGrid, bench: Bench) -> None:
    adapter = np.arange(3_000_000, dtype=np.float32)
    order(grid, bench.own, RecordDict({"arrays": ArrayRecord({"adapter": Array(adapter)})}))
    node = Node(node_id=bench.own)
    pulled = bench.ask("pull-messages", PullMessagesRequest(node=node), bench.own)
    [root] = PullMessagesResponse.FromString(pulled.body).message_object_trees
    contents = {}
    for name in ids_of(root):
        request = PullObjectRequest(node=node, run_id=bench.the_run, object_id=name)
        contents[name] = PullObjectResponse.FromString(bench.ask("pull-object", request, bench.own).body).object_content
    message: Any = inflate_object_from_contents(root.object_id, contents)
    assert get_object_tree(message) == root
    np.testing.assert_array_equal(message.content.array_records["arrays"]["adapter"].numpy(), adapter)


@pytest.mark.parametrize(("bound", "value"), [("LARGEST_PART", 10_000), ("PARTS_ROOM", 10_000)])
def test_what_is_too_large_to_travel_with_its_message_is_sent_after_it(
    grid: SocketGrid, bench: Bench, monkeypatch: Any, bound: str, value: int
) -> None:
    monkeypatch.setattr(app_messages, bound, value)
    adapter = np.arange(5_000, dtype=np.float32)
    bench.asked.clear()
    order(grid, bench.own, RecordDict({"arrays": ArrayRecord({"adapter": Array(adapter)})}))
    assert bench.asked[0] == "push-messages"
    assert "push-object" in bench.asked


def test_an_adapter_travels_once_however_many_sites_get_it(grid: SocketGrid, bench: Bench, monkeypatch: Any) -> None:
    sent: list[int] = []
    ask = grid._framed

    def framed(path: str, frames: Any, wait: int = 0) -> list[bytes]:
        sent.append(sum(frame.ByteSize() for frame in frames))
        return ask(path, frames, wait)

    monkeypatch.setattr(grid, "_framed", framed)
    adapter = np.arange(100_000, dtype=np.float32)
    for node in bench.two():
        order(grid, node, RecordDict({"arrays": ArrayRecord({"adapter": Array(adapter)})}))
    assert sent[0] > adapter.nbytes
    assert sent[1] < 10_000


def test_of_an_answer_under_way_its_own_parts_are_kept_and_no_other_s(grid: SocketGrid, bench: Bench) -> None:
    orders = list(grid.push_messages([Message(RecordDict(), node, "query.hello", ttl=600.0) for node in bench.two()]))
    late = bench.answer(bench.own, bench.the_run, orders[0], b"late")
    bench.begin(late)
    other = next(node for node in grid.get_node_ids() if node != bench.own)
    bench.push(other, bench.answer(other, bench.the_run, orders[1], b"quick"))
    assert [payload(message) for message in grid.pull_messages(orders)] == [b"quick"]
    assert set(grid._arriving[orders[0]].parts) <= set(late.parts)


def test_it_says_which_node_authenticated_with_which_key(grid: SocketGrid, bench: Bench) -> None:
    assert isinstance(grid, KeyedGrid)
    [session] = grid.node_sessions().values()
    assert isinstance(session, NodeSession)
    assert session.key == bench.pem(bench.own)
