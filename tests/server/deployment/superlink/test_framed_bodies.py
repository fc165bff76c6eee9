"""Bodies in frames from a member that has turned: taken only where there are any, of so many parts, and of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fleet_bench import Answer, FleetBench, Headers, name_of, tree
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node

from sealora_common.network.frames import FRAMES, MOST_PARTS, WAIT, from_frames, to_frames
from sealora_server.deployment.superlink import fleet
from sealora_server.deployment.superlink.paths import FLEET_PATHS, PREFIX

IN_FRAMES: Headers = [(b"content-type", FRAMES.encode())]
ACTIONS = sorted(path.removeprefix(PREFIX) for path in FLEET_PATHS)


class Bench(FleetBench):
    """Two nodes and a run, and an order for the first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.own, self.other, self.the_run = self.node(), self.node(), self.run()
        self.the_answer = self.answer(self.own, self.the_run, self.order(self.the_run, self.own))

    def parts(self, answer: Answer) -> list[PushObjectRequest]:
        return [PushObjectRequest(object_id=name, object_content=each) for name, each in answer.parts.items()]

    def framed(self, answer: Answer, parts: list[PushObjectRequest]) -> list[str]:
        """Pushes an answer with these parts; what is missing then."""
        body = to_frames([answer.request.SerializeToString(), *(each.SerializeToString() for each in parts)])
        answered = self.ask("push-messages", body, self.own, IN_FRAMES)
        assert answered.status == 200
        return list(PushMessagesResponse.FromString(answered.body).objects_to_push)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("action", ACTIONS)
def test_frames_are_taken_only_where_there_are_any(bench: Bench, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part may have 32 MiB: as empty frames, eight million."""
    taken: list[bytes] = []
    monkeypatch.setattr(fleet, "from_frames", lambda body: taken.append(body) or from_frames(body))
    status = bench.ask(action, to_frames([b"", b""]), bench.own, IN_FRAMES).status
    if action in ("push-messages", "pull-messages"):
        assert (status, len(taken)) == (401, 1)
    else:
        assert (status, len(taken)) == (415, 0)


@pytest.mark.parametrize("action", ["push-messages", "pull-messages"])
def test_a_body_of_more_frames_than_any_is_refused_before_they_are_read(
    bench: Bench, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_parsed", lambda *_: pytest.fail("it was read"))
    answered = bench.ask(action, bytes(4 * (2 + MOST_PARTS)), bench.own, IN_FRAMES)
    assert answered.status == 400


def test_what_comes_along_is_taken_and_the_rest_is_named(bench: Bench) -> None:
    first, *rest = bench.parts(bench.the_answer)
    assert set(bench.framed(bench.the_answer, [first])) == {each.object_id for each in rest}
    assert bench.framed(bench.the_answer, rest) == []
    assert bench.told[-1] == bench.the_run


LIES: dict[str, Callable[[PushObjectRequest], None]] = {
    "other bytes": lambda part: setattr(part, "object_content", b"other"),
    "no bytes": lambda part: part.ClearField("object_content"),
    "another's name": lambda part: setattr(part, "object_id", name_of(7)),
    "no name": lambda part: part.ClearField("object_id"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_part_that_is_another_stays_missing_and_nothing_is_kept_of_it(bench: Bench, lie: str) -> None:
    first, *rest = bench.parts(bench.the_answer)
    name = first.object_id
    LIES[lie](first)
    assert bench.framed(bench.the_answer, [first, *rest]) == [name]
    assert bench.state.object_store.get(name) in (b"", None)
    assert name_of(7) not in bench.state.object_store


def test_a_part_belongs_to_the_answer_it_came_with_whatever_it_says(bench: Bench) -> None:
    parts = bench.parts(bench.the_answer)
    for part in parts:
        part.run_id, part.session_id = 77, "another"
        part.node.CopyFrom(Node(node_id=bench.other))
    assert bench.framed(bench.the_answer, parts) == []


def test_parts_that_come_again_and_again_are_kept_once(bench: Bench) -> None:
    parts = bench.parts(bench.the_answer)
    assert bench.framed(bench.the_answer, parts * 50) == []
    kept = bench.fleet.quotas.kept(bench.own, bench.the_run)
    assert kept < 2 * sum(len(part.object_content) for part in parts) + 1024 * 4


def test_thousands_of_parts_beside_an_answer_of_thousands_are_looked_up_not_searched_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)  # type: ignore[arg-type]

        __hash__ = str.__hash__

    begin = bench.fleet.replies.begin

    def begun(node: int, request: object) -> object:
        response = begin(node, request)  # type: ignore[arg-type]

        class Response:
            def __init__(self) -> None:
                self.session_id = response.session_id
                self.objects_to_push = [Name(each) for each in response.objects_to_push]

            def SerializeToString(self) -> bytes:  # noqa: N802
                return b""

        return Response()

    monkeypatch.setattr(bench.fleet.replies, "begin", begun)
    root = bench.the_answer.request.message_object_trees[0]
    root.children.extend(tree(name_of(number)) for number in range(200))
    strangers = [PushObjectRequest(object_id=name_of(5000 + number)) for number in range(3000)]
    bench.framed(bench.the_answer, strangers)
    assert compared < 10_000


def test_a_member_pushes_while_its_own_questions_are_held_on_many_connections(bench: Bench) -> None:
    bench.ask("pull-messages", PullMessagesRequest(node=Node(node_id=bench.own)), bench.own)

    async def asked() -> None:
        def question() -> asyncio.Future[object]:
            request = PullMessagesRequest(node=Node(node_id=bench.own))
            return asyncio.ensure_future(
                bench.post("pull-messages", request, bench.own, [(WAIT.encode(), b"20")])  # type: ignore[arg-type]
            )

        questions = [question() for _ in range(40)]
        await asyncio.sleep(0.3)
        assert sum(not each.done() for each in questions) <= 1
        answered = await asyncio.wait_for(bench.post("push-messages", bench.the_answer.request, bench.own), 5)
        assert answered.status == 200
        bench.fleet.questions.close()
        statuses = [each.status for each in await asyncio.wait_for(asyncio.gather(*questions), 5)]  # type: ignore[attr-defined]
        assert set(statuses) == {200, 503}

    asyncio.run(asked())
    assert bench.fleet.quotas._nodes[bench.own].under_way == 0
    assert len(bench.fleet.questions._nodes) == 1
