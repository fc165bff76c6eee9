"""Answers that come in pieces, not at all, or as something else: none of them holds up another, none ends the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import PullObjectResponse
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.runtime_pb2 import GetNodesResponse, PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.task_identity import TaskIdentity

from sealora_server.deployment.socket_grid import SocketGrid
from sealora_server.node_keys import KeyedGrid, NodeSession

SITE, SERVER, RUN = 11, 1, 5


@dataclass
class FakeRuntime:
    """The SuperLink's Runtime API: hands out each answer once, and those of its objects that have arrived."""

    answers: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    asked: list[set[str]] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)

    def PullMessages(self, request):  # noqa: N802
        self.asked.append(set(request.message_ids))
        found = [self.answers.pop(number) for number in sorted(request.message_ids) if number in self.answers]
        return PullAppMessagesResponse(
            messages_list=[envelope for envelope, _ in found], message_object_trees=[tree for _, tree in found]
        )

    def PullObject(self, request):  # noqa: N802
        content = self.objects.get(request.object_id)
        known = content is not None or request.object_id in self.expected
        return PullObjectResponse(
            object_found=known, object_available=content is not None, object_content=content or b""
        )

    def ConfirmMessageReceived(self, request):  # noqa: N802
        self.confirmed.append(request.message_object_id)

    def GetNodes(self, request):  # noqa: N802
        return GetNodesResponse(nodes=[NodeInfo(node_id=SITE, public_key=b"pem", last_activated_at="now")])


@pytest.fixture
def runtime():
    return FakeRuntime()


@pytest.fixture
def grid(runtime):
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, SERVER, 1
    grid = SocketGrid(Path("/nowhere"), "token")
    grid._client = runtime
    grid._run = SimpleNamespace(run_id=RUN)
    type(grid).run = property(lambda self: self._run)
    yield grid
    del type(grid).run


def answer(text: str, site: int = SITE) -> tuple[str, str, dict[str, bytes], Any]:
    """An answer of a site: (id of what it answers, its own id, its objects, what the SuperLink tells of it)."""
    asked = Message(RecordDict(), dst_node_id=site, message_type="query.hello")
    asked.metadata.__dict__["_message_id"] = f"asked-{text}"
    reply = Message(RecordDict({"config": ConfigRecord({"payload": text.encode()})}), reply_to=asked)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    objects = {number: value.deflate() for number, value in get_all_nested_objects(reply).items()}
    told = message_to_proto(remove_content_from_message(reply)), get_object_tree(reply)
    return asked.metadata.message_id, reply.object_id, objects, told


def arrives(runtime: FakeRuntime, text: str) -> tuple[str, str, dict[str, bytes]]:
    asked, own, objects, told = answer(text)
    runtime.answers[asked] = told
    runtime.expected |= set(objects)
    return asked, own, objects


def payload(message: Message) -> object:
    return message.content.config_records["config"]["payload"]


def test_a_whole_answer_is_handed_on_and_confirmed(grid, runtime):
    asked, own, objects = arrives(runtime, "a")
    runtime.objects |= objects
    [message] = grid.pull_messages([asked])
    assert payload(message) == b"a"
    assert (message.metadata.reply_to_message_id, message.metadata.message_id) == (asked, own)
    assert runtime.confirmed == [own]
    assert grid.pull_messages([]) == []


def test_an_answer_that_has_not_come_whole_holds_up_no_other(grid, runtime):
    first, own, objects = arrives(runtime, "slow")
    second, _, others = arrives(runtime, "quick")
    runtime.objects |= others
    assert [payload(message) for message in grid.pull_messages([first, second])] == [b"quick"]
    assert grid.pull_messages([first]) == []
    assert runtime.asked == [{first, second}]  # it is Flower's no more: asked for again, it would be an error
    runtime.objects |= objects
    assert [payload(message) for message in grid.pull_messages([first])] == [b"slow"]
    assert runtime.confirmed.count(own) == 1


def test_parts_that_are_here_are_not_fetched_again(grid, runtime):
    asked, _, objects = arrives(runtime, "a")
    last = list(objects)[-1]
    runtime.objects |= {number: value for number, value in objects.items() if number != last}
    grid.pull_messages([asked])
    runtime.objects = {last: objects[last]}
    runtime.expected = {last}
    assert [payload(message) for message in grid.pull_messages([asked])] == [b"a"]


def test_an_answer_whose_parts_are_gone_becomes_an_error(grid, runtime):
    asked, _, _ = arrives(runtime, "a")
    runtime.expected.clear()
    [message] = grid.pull_messages([asked])
    assert message.has_error()
    assert message.metadata.reply_to_message_id == asked
    assert "do not make a message" in message.error.reason


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 100, b"Message \x00{}", b"Message 5 {}\x00\x00\x00"])
def test_an_answer_that_is_none_becomes_an_error(grid, runtime, content):
    asked, own, objects = arrives(runtime, "a")
    runtime.objects |= {**objects, own: content}
    [message] = grid.pull_messages([asked])
    assert message.has_error()
    assert message.metadata.reply_to_message_id == asked


@pytest.mark.parametrize("part", range(3))
def test_so_does_one_of_whose_parts_one_is_none(grid, runtime, part):
    asked, _, objects = arrives(runtime, "a")
    assert len(objects) == 3
    runtime.objects |= {**objects, sorted(objects)[part]: b"\x00"}
    [message] = grid.pull_messages([asked])
    assert message.has_error()


def test_whose_answer_it_is_says_the_superlink_and_not_the_answer(grid, runtime):
    asked, own, objects, _ = answer("a")
    other, _, _, (envelope, _) = answer("b", site=12)
    envelope.metadata.message_id = own  # what the SuperLink checked, for an object that says something else
    _, _, _, (_, tree) = answer("a")
    runtime.answers[other] = (envelope, tree)
    runtime.expected |= set(objects)
    runtime.objects |= objects
    for node in [tree]:
        node.object_id = own
    [message] = grid.pull_messages([other])
    assert message.metadata.reply_to_message_id == other != asked
    assert message.metadata.src_node_id == 12


def test_a_superlink_that_is_gone_is_not_taken_for_a_bad_answer(grid, runtime):
    asked, _, objects = arrives(runtime, "a")

    def gone(request):
        raise httpx.ReadError("gone")

    runtime.PullObject = gone
    with pytest.raises(httpx.ReadError):
        grid.pull_messages([asked])
    del runtime.PullObject
    runtime.objects |= objects
    assert [payload(message) for message in grid.pull_messages([asked])] == [b"a"]


def test_what_was_not_whole_is_forgotten_with_the_next_messages(grid, runtime, monkeypatch):
    asked, _, _ = arrives(runtime, "a")
    grid.pull_messages([asked])
    monkeypatch.setattr("sealora_server.deployment.socket_grid.HttpGrid.push_messages", lambda self, messages: [])
    grid.push_messages([])
    grid.pull_messages([asked])
    assert runtime.asked == [{asked}, {asked}]


def test_it_says_which_node_authenticated_with_which_key(grid):
    assert isinstance(grid, KeyedGrid)
    assert grid.node_sessions() == {SITE: NodeSession(b"pem", "now")}
