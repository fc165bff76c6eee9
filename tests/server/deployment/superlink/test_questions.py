"""Questions are held until there is something, answered again as they were, and bound to the node that asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from fleet_bench import Answered, FleetBench, Headers, name_of
from flwr.proto.fleet_pb2 import DeactivateNodeRequest, PullMessagesRequest, PullMessagesResponse
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest, PullObjectResponse
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_object_id
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.network.frames import FRAMES, LONGEST_WAIT_SECONDS, PART_BYTES, WAIT, from_frames, to_frames
from sealora_common.round.wire_format import PULL_ID
from sealora_server.deployment.superlink.fleet import _Asked

SHORT = 0.3


class Bench(FleetBench):
    """One node and one run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.own, self.the_run = self.node(), self.run()

    async def pull(self, *, mark: str = "", wait: str = "0", parts: bool = False, node: int | None = None) -> Answered:
        more: Headers = [(WAIT.encode(), wait.encode())]
        more += [(PULL_ID.encode(), mark.encode())] if mark else []
        more += [(b"accept", FRAMES.encode())] if parts else []
        node = node or self.own
        return await self.post("pull-messages", PullMessagesRequest(node=Node(node_id=node)), node, more)

    def part(self, name: str, node: int | None = None) -> PullObjectResponse:
        request = PullObjectRequest(node=Node(node_id=node or self.own), run_id=self.the_run, object_id=name)
        return PullObjectResponse.FromString(self.ask("pull-object", request, node or self.own).body)

    def confirm(self, name: str, node: int | None = None) -> None:
        node = node or self.own
        request = ConfirmMessageReceivedRequest(node=Node(node_id=node), run_id=self.the_run, message_object_id=name)
        assert self.ask("confirm-message-received", request, node).status == 200

    def parts_of(self, order: str) -> list[str]:
        root = self.state.object_store.get_object_tree(order)
        return [root.children[0].children[0].object_id, root.children[0].object_id, order]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def orders_in(answered: Answered) -> list[str]:
    """The names of the messages in an answer."""
    assert answered.status == 200
    body = answered.body
    if answered.headers["content-type"] == FRAMES:
        body = from_frames(body)[0]
    return [message.metadata.message_id for message in PullMessagesResponse.FromString(body).messages_list]


def timed(asking: Callable[[], Awaitable[Answered]]) -> tuple[Answered, float]:
    started = time.monotonic()
    answered = asyncio.run(asking())  # type: ignore[arg-type]
    return answered, time.monotonic() - started


def test_a_question_is_held_until_there_is_a_message(bench: Bench) -> None:
    async def asked() -> Answered:
        question = asyncio.ensure_future(bench.pull(wait="20"))
        await asyncio.sleep(SHORT)
        assert not question.done()
        bench.ordered = bench.order(bench.the_run, bench.own)  # type: ignore[attr-defined]
        return await question

    answered, seconds = timed(asked)
    assert orders_in(answered) == [bench.ordered]  # type: ignore[attr-defined]
    assert SHORT <= seconds < 5


def test_another_node_s_message_does_not_end_it_nor_does_a_false_alarm(bench: Bench) -> None:
    other = bench.node()

    async def asked() -> Answered:
        question = asyncio.ensure_future(bench.pull(wait="20"))
        await asyncio.sleep(SHORT / 3)
        bench.order(bench.the_run, other)
        bench.fleet.questions.wake()
        await asyncio.sleep(SHORT / 3)
        assert not question.done()
        bench.fleet.questions.close()
        return await question

    assert orders_in(timed(asked)[0]) == []


@pytest.mark.parametrize(
    ("wait", "least", "most"), [("1", 1.0, 5.0), *((wrong, 0.0, 1.0) for wrong in ("", "-1", "x", "1e9", "99999"))]
)
def test_it_is_held_for_no_longer_than_it_says(bench: Bench, wait: str, least: float, most: float) -> None:
    answered, seconds = timed(lambda: bench.pull(wait=wait))
    assert orders_in(answered) == []
    assert least <= seconds < most


def test_a_second_question_ends_the_first_and_gets_what_comes(bench: Bench) -> None:
    async def asked() -> tuple[Answered, Answered]:
        first = asyncio.ensure_future(bench.pull(wait="20", mark="a"))
        await asyncio.sleep(SHORT / 3)
        second = asyncio.ensure_future(bench.pull(wait="20", mark="b"))
        ended = await asyncio.wait_for(first, 2)
        assert not second.done()
        bench.order(bench.the_run, bench.own)
        return ended, await asyncio.wait_for(second, 2)

    first, second = asyncio.run(asked())
    assert orders_in(first) == []
    assert len(orders_in(second)) == 1


def test_a_question_that_comes_again_while_the_first_is_held_takes_its_answer(bench: Bench) -> None:
    async def asked() -> list[list[str]]:
        first = asyncio.ensure_future(bench.pull(wait="20", mark="a"))
        await asyncio.sleep(SHORT / 3)
        order = bench.order(bench.the_run, bench.own)
        again = await bench.pull(wait="0", mark="a")
        assert orders_in(again) == [order]
        return [orders_in(await first), orders_in(again)]

    first, again = asyncio.run(asked())
    assert first == again


@pytest.mark.parametrize("parts", [False, True])
def test_the_same_mark_gets_the_same_answer_and_another_the_next(bench: Bench, parts: bool) -> None:
    first, second = bench.order(bench.the_run, bench.own), bench.order(bench.the_run, bench.own)

    def answers(*marks: str) -> list[Answered]:
        return [asyncio.run(bench.pull(mark=mark, parts=parts)) for mark in marks]

    one, again, other, former = answers("a", "a", "b", "a")
    assert one == again
    assert (orders_in(one), orders_in(other), orders_in(former)) == ([first], [second], [])
    assert [orders_in(each) for each in answers("", "")] == [[], []]


def test_a_mark_is_a_node_s_own(bench: Bench) -> None:
    other = bench.node()
    bench.order(bench.the_run, bench.own)
    assert len(orders_in(asyncio.run(bench.pull(mark="a")))) == 1
    assert orders_in(asyncio.run(bench.pull(mark="a", node=other))) == []


def test_small_parts_come_beside_the_answer_and_leave_the_superlink_at_once(bench: Bench) -> None:
    order = bench.order(bench.the_run, bench.own)
    names = bench.parts_of(order)
    answered = asyncio.run(bench.pull(mark="a", parts=True))
    assert answered.headers["content-type"] == FRAMES
    contents = [PullObjectResponse.FromString(part).object_content for part in from_frames(answered.body)[1:]]
    assert [get_object_id(content) for content in contents] == names
    assert order not in bench.state.object_store
    assert asyncio.run(bench.pull(mark="a", parts=True)) == answered


def test_a_large_part_is_fetched_by_itself_and_the_message_stays_until_then(bench: Bench) -> None:
    order = bench.order(bench.the_run, bench.own, bytes(PART_BYTES + 1))
    names = bench.parts_of(order)
    answered = asyncio.run(bench.pull(parts=True))
    assert len(from_frames(answered.body)) == 1 + 2
    assert len(bench.part(names[0]).object_content) > PART_BYTES
    bench.confirm(order)
    assert order not in bench.state.object_store


def test_parts_and_confirmations_are_of_the_node_s_own_messages(bench: Bench) -> None:
    other = bench.node()
    own, others = bench.order(bench.the_run, bench.own), bench.order(bench.the_run, other)
    asyncio.run(bench.pull())
    asyncio.run(bench.pull(node=other))
    for name in bench.parts_of(others):
        assert not bench.part(name).object_found
        assert bench.part(name, other).object_available
    bench.confirm(others)
    assert others in bench.state.object_store
    bench.confirm(name_of(1))
    bench.confirm(own)
    assert own not in bench.state.object_store
    bench.confirm(others, other)
    assert others not in bench.state.object_store


def test_a_node_asks_for_what_it_was_handed_out_before_a_restart(bench: Bench) -> None:
    name = bench.parts_of(bench.order(bench.the_run, bench.own))[0]
    assert bench.part(name).object_available


def test_a_question_in_frames_is_one_too(bench: Bench) -> None:
    body = to_frames([PullMessagesRequest(node=Node(node_id=bench.own)).SerializeToString()])
    framed: Headers = [(b"content-type", FRAMES.encode())]
    assert bench.ask("pull-messages", body, bench.own, framed).status == 200
    assert bench.ask("pull-messages", body[:-1], bench.own, framed).status == 400
    assert bench.ask("pull-messages", b"", bench.own, framed).status == 401  # it names no node


def test_while_it_is_held_the_state_is_asked_once_for_each_alarm(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    pull = bench.fleet.questions._pull

    async def counted(request: PullMessagesRequest) -> PullMessagesResponse:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return await pull(request)

    monkeypatch.setattr(bench.fleet.questions, "_pull", counted)

    async def held() -> None:
        question = asyncio.ensure_future(bench.pull(wait="20"))
        await asyncio.sleep(SHORT)
        bench.fleet.questions.wake()
        await asyncio.sleep(SHORT)
        assert asked == 2
        bench.fleet.questions.close()
        await asyncio.wait_for(question, 2)

    asyncio.run(held())


def test_a_node_that_says_goodbye_has_no_question_any_more(bench: Bench) -> None:
    async def asked() -> Answered:
        question = asyncio.ensure_future(bench.pull(wait="20"))
        await asyncio.sleep(SHORT / 3)
        left = await bench.post("deactivate-node", DeactivateNodeRequest(node_id=bench.own), bench.own)
        assert left.status == 200
        return await asyncio.wait_for(question, 2)

    assert orders_in(asyncio.run(asked())) == []


def test_a_question_without_a_mark_does_not_take_the_place_of_a_marked_one(bench: Bench) -> None:
    order = bench.order(bench.the_run, bench.own)
    for mark in ("a", "", "a"):
        orders = orders_in(asyncio.run(bench.pull(mark=mark)))
        assert orders == ([order] if mark else [])


@pytest.mark.parametrize("parts", [False, True])
def test_a_message_that_is_not_whole_yet_stays_and_no_part_comes_empty(bench: Bench, parts: bool) -> None:
    order = bench.order(bench.the_run, bench.own)
    leaf = bench.parts_of(order)[0]
    content = bench.state.object_store.store[leaf].content
    bench.state.object_store.store[leaf].content = b""
    bench.state.object_store.store[leaf].is_available = False
    answered = asyncio.run(bench.pull(parts=parts))
    if parts:
        came = [PullObjectResponse.FromString(part).object_content for part in from_frames(answered.body)[1:]]
        assert len(came) == 2
        assert all(came)
    assert order in bench.state.object_store
    bench.state.object_store.put(leaf, content)
    assert bench.part(leaf).object_content == content


@given(st.binary(max_size=200))
def test_whatever_header_asks_for_it_the_time_is_bounded(given_header: bytes) -> None:
    wait = _Asked(1, b"", {WAIT.encode(): given_header}).wait
    assert 0 <= wait <= LONGEST_WAIT_SECONDS
    if wait:
        assert given_header.isdigit()


@pytest.mark.parametrize(("header", "seconds"), [(b"7", 7), (b"20", 20), (b"21", 20), (b"999", 20), (b"1000", 0)])
def test_a_time_is_a_number_of_seconds(header: bytes, seconds: int) -> None:
    assert _Asked(1, b"", {WAIT.encode(): header}).wait == seconds


def test_what_is_kept_for_a_node_is_bounded(bench: Bench) -> None:
    for number in range(20):
        bench.order(bench.the_run, bench.own)
        asyncio.run(bench.pull(mark=f"{number:02}" + "x" * 5000))
    of = bench.fleet.questions._nodes[bench.own]
    assert len(of.pull_id) == 64
    assert len(of.handed_out) == 8


@pytest.mark.parametrize("action", ["pull-object", "confirm-message-received"])
def test_a_run_that_the_superlink_does_not_know_is_over(bench: Bench, action: str) -> None:
    """Flower breaks on it."""
    order = bench.order(bench.the_run, bench.own)
    asyncio.run(bench.pull())
    kind = PullObjectRequest if action == "pull-object" else ConfirmMessageReceivedRequest
    named = {"object_id" if action == "pull-object" else "message_object_id": order}
    request = kind(node=Node(node_id=bench.own), run_id=77, **named)
    answered = bench.ask(action, request, bench.own)
    assert answered.status == 403
    assert b"2007" in answered.body
