"""A ServerApp sends many messages at once and holds a question until an answer has come, with its task's token."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from fleet_bench import Answered, FleetBench, message_of, name_of, tree
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.message_pb2 import PullObjectResponse, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    PullAppMessagesRequest,
    PullAppMessagesResponse,
    PushAppMessagesRequest,
    PushAppMessagesResponse,
)
from flwr.supercore.constant import TASK_TOKEN_HEADER
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

from sealora_common.network.frames import FRAMES, WAIT, from_frames, to_frames
from sealora_server.deployment.superlink import app_messages
from sealora_server.deployment.superlink.app_messages import LARGEST_PART, AppMessages


class Bench(FleetBench):
    """A run with its token, and a node."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.own, self.the_run = self.node(), self.run()
        self.app = AppMessages(self.state, self.fleet.replies.make_way, self.fleet.questions.wake)
        self.fleet._replied = self.app.replied

    async def framed(self, path: str, frames: list[Any], *, wait: str = "0", token: str | None = None) -> Answered:
        body = to_frames(each if isinstance(each, bytes) else each.SerializeToString() for each in frames)
        headers = [
            (b"content-type", FRAMES.encode()),
            (WAIT.encode(), wait.encode()),
            (TASK_TOKEN_HEADER.lower().encode(), (self.tokens[self.the_run] if token is None else token).encode()),
        ]
        answered = Answered()

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
        await self.app(scope, receive, answered.send)
        return answered

    def send(self, messages: list[Any], *, parts: bool = True) -> PushAppMessagesResponse:
        request = PushAppMessagesRequest(
            messages_list=[message_to_proto(remove_content_from_message(each)) for each in messages],
            message_object_trees=[get_object_tree(each) for each in messages],
        )
        contents = {name: part for each in messages for name, part in get_all_nested_objects(each).items()}
        frames = [
            PushObjectRequest(run_id=self.the_run, object_id=name, object_content=part.deflate())
            for name, part in contents.items()
        ]
        answered = asyncio.run(self.framed(app_messages.PUSH, [request, *(frames if parts else [])]))
        assert answered.status == 200, answered.body
        return PushAppMessagesResponse.FromString(from_frames(answered.body)[0])

    async def pull(self, orders: list[str], wait: str = "0") -> list[bytes]:
        answered = await self.framed(app_messages.PULL, [PullAppMessagesRequest(message_ids=orders)], wait=wait)
        assert answered.status == 200
        return from_frames(answered.body)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def message(bench: Bench, node: int, payload: bytes = b"order") -> Any:
    return message_of(bench.the_run, 1, node, "", payload, 600.0)


def test_messages_and_their_parts_are_stored_at_once(bench: Bench) -> None:
    other = bench.node()
    pushed = bench.send([message(bench, bench.own), message(bench, other)])
    assert len(pushed.message_ids) == 2
    assert list(pushed.objects_to_push) == []
    for node in (bench.own, other):
        assert len(bench.state.get_message_ins(node, None)) == 1


def test_the_nodes_that_messages_were_stored_for_are_told(bench: Bench) -> None:
    told: list[set[int]] = []
    bench.app = AppMessages(bench.state, bench.fleet.replies.make_way, lambda nodes: told.append(set(nodes)))
    other = bench.node()
    bench.send([message(bench, bench.own), message(bench, other)])
    assert told == [{bench.own, other}]


def test_parts_that_are_there_already_may_come_again(bench: Bench) -> None:
    """The next sixteen sites get the adapter that the first sixteen got."""
    for node in (bench.own, bench.node()):
        assert list(bench.send([message(bench, node)]).objects_to_push) == []
        assert len(bench.state.get_message_ins(node, None)) == 1


def test_what_did_not_come_is_named(bench: Bench) -> None:
    pushed = bench.send([message(bench, bench.own)], parts=False)
    assert len(set(pushed.objects_to_push)) == 3


def test_a_node_s_question_is_answered_as_soon_as_a_message_is_pushed(bench: Bench) -> None:
    async def asked() -> Answered:
        question = asyncio.ensure_future(
            bench.post(
                "pull-messages", PullMessagesRequest(node=Node(node_id=bench.own)), bench.own, [(WAIT.encode(), b"20")]
            )
        )
        await asyncio.sleep(0.1)
        await asyncio.to_thread(bench.send, [message(bench, bench.own)])
        bench.fleet.questions.wake([bench.own])  # it was woken in another loop
        return await asyncio.wait_for(question, 5)

    assert len(asyncio.run(asked()).body) > 100


def test_an_answer_comes_with_its_parts_and_is_let_go(bench: Bench) -> None:
    orders = list(bench.send([message(bench, bench.own)]).message_ids)
    answer = bench.answer(bench.own, bench.the_run, orders[0])
    bench.push(bench.own, answer)
    first, *parts = asyncio.run(bench.pull(orders))
    assert [each.metadata.message_id for each in PullAppMessagesResponse.FromString(first).messages_list] == [
        answer.message_id
    ]
    assert {PullObjectResponse.FromString(part).object_content for part in parts} == set(answer.parts.values())
    assert answer.message_id not in bench.state.object_store
    bench.fleet.replies.forget_ended()
    assert bench.fleet.quotas.bytes == 0


def test_a_large_part_is_fetched_by_itself(bench: Bench) -> None:
    orders = list(bench.send([message(bench, bench.own)]).message_ids)
    answer = bench.answer(bench.own, bench.the_run, orders[0], bytes(LARGEST_PART + 1))
    bench.push(bench.own, answer)
    _, *parts = asyncio.run(bench.pull(orders))
    assert len(parts) == 2
    assert answer.message_id in bench.state.object_store


def test_a_question_is_held_until_an_answer_has_come(bench: Bench) -> None:
    orders = list(bench.send([message(bench, bench.own)]).message_ids)
    answer = bench.answer(bench.own, bench.the_run, orders[0])

    async def asked() -> list[bytes]:
        question = asyncio.ensure_future(bench.pull(orders, wait="20"))
        await asyncio.sleep(0.1)
        assert not question.done()
        await bench.post("push-messages", answer.request, bench.own)
        return await asyncio.wait_for(question, 5)

    assert len(PullAppMessagesResponse.FromString(asyncio.run(asked())[0]).messages_list) == 1


def test_it_is_held_no_longer_than_it_says_nor_when_the_process_ends(bench: Bench) -> None:
    orders = list(bench.send([message(bench, bench.own)]).message_ids)

    async def asked() -> None:
        started = time.monotonic()
        assert PullAppMessagesResponse.FromString((await bench.pull(orders, wait="0.2"))[0]).messages_list == []
        assert 0.2 <= time.monotonic() - started < 5
        question = asyncio.ensure_future(bench.pull(orders, wait="20"))
        await asyncio.sleep(0.1)
        bench.app.close()
        await asyncio.wait_for(question, 5)

    asyncio.run(asked())


@pytest.mark.parametrize("token", ["", "wrong"])
@pytest.mark.parametrize("path", [app_messages.PUSH, app_messages.PULL])
def test_without_the_task_s_token_nothing_is_stored_or_told(bench: Bench, path: str, token: str) -> None:
    assert asyncio.run(bench.framed(path, [b""], token=token)).status == 401
    assert bench.held()["orders"] == 0


def test_nothing_is_kept_for_a_run_that_has_ended(bench: Bench) -> None:
    orders = list(bench.send([message(bench, bench.own)]).message_ids)
    asyncio.run(bench.pull(orders))
    assert set(bench.app._replied) == {bench.the_run}
    bench.app.replied(77)
    assert set(bench.app._replied) == {bench.the_run}


def test_a_member_that_guessed_a_part_of_a_message_and_lied_about_it_does_not_spoil_it(bench: Bench) -> None:
    order = bench.order(bench.the_run, bench.own)
    coming = message(bench, bench.node(), b"the first adapter")
    root = get_object_tree(coming)
    lie = bench.answer(bench.own, bench.the_run, order).request
    lie.message_object_trees[0].CopyFrom(tree(name_of(1), tree(root.children[0].object_id, tree(name_of(2)))))
    lie.messages_list[0].metadata.message_id = name_of(1)
    assert bench.ask("push-messages", lie, bench.own).status == 200
    assert bench.held()["latest"] == 1
    bench.send([coming])
    assert bench.state.object_store.get_object_tree(root.object_id) == root
    assert bench.held()["latest"] == 0


def test_two_questions_of_a_run_that_ends_are_both_answered(bench: Bench) -> None:
    orders = list(bench.send([message(bench, bench.own)]).message_ids)

    async def asked() -> None:
        questions = [asyncio.ensure_future(bench.pull(orders, wait="20")) for _ in range(2)]
        await asyncio.sleep(0.1)
        bench.app._is_over = lambda run: True  # type: ignore[method-assign]
        bench.app.close()
        await asyncio.wait_for(asyncio.gather(*questions), 5)

    asyncio.run(asked())
    assert bench.app._replied == {}


def test_while_a_question_is_held_the_state_is_asked_once_for_each_alarm(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = list(bench.send([message(bench, bench.own)]).message_ids)
    asked = 0
    pulled = bench.app._pulled

    async def counted(*given: Any) -> PullAppMessagesResponse:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return await pulled(*given)

    monkeypatch.setattr(bench.app, "_pulled", counted)

    async def held() -> None:
        question = asyncio.ensure_future(bench.pull(orders, wait="20"))
        await asyncio.sleep(0.2)
        bench.app.replied(bench.the_run)
        await asyncio.sleep(0.2)
        assert asked == 2
        bench.app.close()
        await asyncio.wait_for(question, 5)

    asyncio.run(held())


def test_no_question_is_held_longer_than_any(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_messages, "LONGEST_WAIT_SECONDS", 0.1)
    orders = list(bench.send([message(bench, bench.own)]).message_ids)
    asyncio.run(asyncio.wait_for(bench.pull(orders, wait="20"), 5))


def test_an_answer_that_is_not_whole_is_listed_and_not_let_go(bench: Bench) -> None:
    orders = list(bench.send([message(bench, bench.own)]).message_ids)
    answer = bench.answer(bench.own, bench.the_run, orders[0])
    first, *rest = answer.parts
    bench.push(bench.own, answer, [first])
    _, *parts = asyncio.run(bench.pull(orders))
    assert [PullObjectResponse.FromString(part).object_content for part in parts] == [answer.parts[first]]
    bench.push(bench.own, answer, rest)  # announced anew, as by a site that was cut off
    assert all(bench.state.object_store.get(name) == content for name, content in answer.parts.items())


def test_parts_that_no_message_names_and_other_bytes_are_not_stored(bench: Bench) -> None:
    sent = message(bench, bench.own)
    request = PushAppMessagesRequest(
        messages_list=[message_to_proto(remove_content_from_message(sent))],
        message_object_trees=[get_object_tree(sent)],
    )
    root = get_object_tree(sent)
    parts = [
        PushObjectRequest(run_id=bench.the_run, object_id=name_of(7), object_content=b"stranger"),
        PushObjectRequest(run_id=bench.the_run, object_id=root.object_id, object_content=b"other"),
    ]
    answered = asyncio.run(bench.framed(app_messages.PUSH, [request, *parts]))
    stored = PushAppMessagesResponse.FromString(from_frames(answered.body)[0])
    assert root.object_id in stored.objects_to_push
    assert name_of(7) not in bench.state.object_store
