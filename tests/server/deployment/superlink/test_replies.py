"""Only what answers a node's own order is taken, one answer at a time, and of what was dropped nothing stays."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import pytest
from fleet_bench import LIMITS, Answer, FleetBench, name_of, tree
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest, PushObjectResponse
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_server.deployment.superlink.quotas import OverQuotaError, Quotas
from sealora_server.deployment.superlink.replies import (
    PART_OVERHEAD,
    AnswerTooLargeError,
    NotYoursError,
    Replies,
)
from sealora_server.deployment.superlink.trees import MOST_PARTS


class Bench(FleetBench):
    """One node, one run, and replies of their own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.own, self.the_run = self.node(), self.run()
        self.before = self.held()
        self.quotas = Quotas(self.limits, lambda: len(self.keys))
        self.fleet.replies = self.replies = Replies(self.state, self.quotas, self.limits.answer_bytes)

    def ordered(self, payload: bytes = b"answer", node: int | None = None) -> Answer:
        node = node or self.own
        return self.answer(node, self.the_run, self.order(self.the_run, node), payload)

    def sent(self, answer: Answer, node: int | None = None, parts: list[str] | None = None) -> PushMessagesResponse:
        node = node or self.own
        response = self.replies.begin(node, answer.request)
        for name in answer.parts if parts is None else parts:
            self.replies.add(node, self.part(response, name, answer.parts[name]))
        return response

    def part(self, response: PushMessagesResponse, name: str, content: bytes) -> PushObjectRequest:
        return PushObjectRequest(
            run_id=self.the_run, session_id=response.session_id, object_id=name, object_content=content
        )


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_answer_is_taken_with_its_parts_and_counted(bench: Bench) -> None:
    answer = bench.ordered()
    response = bench.sent(answer)
    assert set(response.objects_to_push) == set(answer.parts)
    assert all(bench.state.object_store.get(name) == content for name, content in answer.parts.items())
    size = answer.request.ByteSize() + PART_OVERHEAD * 3 + sum(map(len, answer.parts.values()))
    assert bench.quotas.kept(bench.own, bench.the_run) == bench.quotas.bytes == size
    assert list(bench.replies.begin(bench.own, answer.request).objects_to_push) == []
    assert bench.quotas.bytes == size
    assert bench.held()["sessions"] == 1


def _metadata(name: str, value: object) -> Callable[[PushMessagesRequest, Bench], object]:
    return lambda request, bench: setattr(request.messages_list[0].metadata, name, value)


REFUSED: dict[str, Callable[[PushMessagesRequest, Bench], object]] = {
    "in another node's name": lambda request, bench: _metadata("src_node_id", bench.node())(request, bench),
    "in the server's name": _metadata("src_node_id", 1),
    "to another node": lambda request, bench: _metadata("dst_node_id", bench.node())(request, bench),
    "an order": _metadata("reply_to_message_id", ""),
    "an order in the server's name": lambda request, bench: (
        _metadata("src_node_id", 1)(request, bench),
        _metadata("reply_to_message_id", "")(request, bench),
    ),
    "another id than the tree's": _metadata("message_id", name_of(1)),
    "no id": _metadata("message_id", ""),
    "made at no time": _metadata("created_at", math.nan),
    "made at the end of time": _metadata("created_at", math.inf),
    "for no time": _metadata("ttl", math.nan),
    "for ever": _metadata("ttl", math.inf),
    "two answers": lambda request, bench: request.messages_list.append(request.messages_list[0]),
    "none": lambda request, bench: request.ClearField("messages_list"),
    "two trees": lambda request, bench: request.message_object_trees.append(request.message_object_trees[0]),
    "no tree": lambda request, bench: request.ClearField("message_object_trees"),
    "two runtimes": lambda request, bench: request.clientapp_runtime_list.append(1.0),
    "a runtime that is none": lambda request, bench: request.clientapp_runtime_list.__setitem__(0, math.nan),
    "a runtime below 0": lambda request, bench: request.clientapp_runtime_list.__setitem__(0, -1.0),
    "an endless runtime": lambda request, bench: request.clientapp_runtime_list.__setitem__(0, math.inf),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_answer_of_this_node_is_refused_and_nobody_gets_it(bench: Bench, what: str) -> None:
    answer = bench.ordered()
    REFUSED[what](answer.request, bench)
    held = bench.held()
    with pytest.raises(NotYoursError):
        bench.replies.begin(bench.own, answer.request)
    assert bench.held() == held
    assert all(not bench.state.get_message_ins(node, 1) for node in bench.keys if node != bench.own)


def _with_root(answer: Answer, root: ObjectTree) -> PushMessagesRequest:
    request = PushMessagesRequest()
    request.CopyFrom(answer.request)
    request.messages_list[0].metadata.message_id = root.object_id
    request.message_object_trees[0].CopyFrom(root)
    return request


A, B, C = (name_of(number) for number in (1, 2, 3))
BAD_TREES = {
    "too many parts": tree(A, *(tree(name_of(number)) for number in range(10, 10 + MOST_PARTS))),
    "too many times one part": tree(A, *(tree(B) for _ in range(MOST_PARTS))),
    "a part in itself": tree(A, tree(B, tree(A))),
    "a part in itself, below the root": tree(C, tree(A, tree(B, tree(A)))),
    "one name for two things": tree(A, tree(B), tree(C, tree(B, tree(name_of(4))))),
    **{f"a bad name: {name!r}": tree(A, tree(name)) for name in ("", "a", "g" * 64, "A" * 63, A + "0", "Ä" * 64)},
}


@pytest.mark.parametrize("what", BAD_TREES)
def test_a_tree_that_none_of_ours_is_is_refused(bench: Bench, what: str) -> None:
    answer = bench.ordered()
    with pytest.raises(NotYoursError):
        bench.replies.begin(bench.own, _with_root(answer, BAD_TREES[what]))
    assert bench.held()["latest"] == bench.held()["sessions"] == 0


def deep(levels: int) -> ObjectTree:
    root = tree(name_of(0))
    for number in range(1, levels):
        root = tree(name_of(number), root)
    return root


def test_a_tree_deeper_than_protobuf_reads_is_no_message(bench: Bench) -> None:
    order = bench.order(bench.the_run, bench.own)
    answer = bench.answer(bench.own, bench.the_run, order)
    for levels, status in ((90, 200), (200, 400), (1000, 400), (5000, 400)):
        root = deep(60)
        body = b""
        if levels > 90:
            for number in range(levels):  # protobuf would not write it either
                body = b"\n@" + name_of(number).encode() + (b"" if not body else b"\x12" + _varint(len(body)) + body)
            request = _with_root(answer, tree(name_of(levels - 1)))
            request.ClearField("message_object_trees")
            body = request.SerializeToString() + b"\x1a" + _varint(len(body)) + body
        else:
            body = _with_root(answer, root).SerializeToString()
        assert bench.ask("push-messages", body, bench.own).status == status, levels


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def test_a_part_is_taken_of_the_node_s_own_latest_answer_alone(bench: Bench) -> None:
    other = bench.node()
    answer, of_other = bench.ordered(), bench.ordered(b"of another", other)
    own = bench.sent(answer, parts=[])
    others = bench.sent(of_other, other, parts=[])
    name = next(iter(of_other.parts))
    for session in (own.session_id, others.session_id, ""):
        stolen = bench.part(own, name, of_other.parts[name])
        stolen.session_id = session
        assert not bench.replies.add(bench.own, stolen).stored
    other_run = bench.part(own, name, of_other.parts[name])
    other_run.run_id = bench.run()
    assert not bench.replies.add(bench.own, other_run).stored
    assert bench.state.object_store.get(name) == b""
    assert bench.quotas.kept(bench.own, bench.the_run) == answer.request.ByteSize() + PART_OVERHEAD * 3


def test_a_part_that_is_something_else_is_not_taken(bench: Bench) -> None:
    answer = bench.ordered()
    response = bench.sent(answer, parts=[])
    kept = bench.quotas.bytes
    for content in (b"", b"x", bytes(1000)):
        assert bench.replies.add(bench.own, bench.part(response, next(iter(answer.parts)), content)) == (
            PushObjectResponse(stored=False)
        )
    assert bench.quotas.bytes == kept


@pytest.mark.parametrize("whole", [True, False])
def test_of_a_former_answer_nothing_stays(bench: Bench, whole: bool) -> None:
    first = bench.ordered(bytes(1000))
    bench.sent(first, parts=None if whole else [next(iter(first.parts))])
    held, counted = bench.held(), bench.quotas.bytes
    second = bench.ordered(bytes(1001))
    bench.sent(second, parts=None if whole else [next(iter(second.parts))])
    assert bench.held() == {**held, "objects": held["objects"] + 3, "content": bench.held()["content"]}  # the order's
    assert abs(bench.quotas.bytes - counted) < 10
    assert not any(name in bench.state.object_store for name in first.parts)


def test_what_answers_nothing_leaves_nothing(bench: Bench) -> None:
    for number in range(20):
        bench.replies.begin(bench.own, bench.answer(bench.own, bench.the_run, name_of(number)).request)
    assert bench.held() == bench.before
    assert bench.quotas.bytes == 0


def test_an_answer_whose_order_has_gone_leaves_no_session_when_it_comes_again(bench: Bench) -> None:
    answer = bench.ordered()
    bench.sent(answer)
    bench.state.delete_messages({answer.request.messages_list[0].metadata.reply_to_message_id})
    for _ in range(20):
        bench.replies.begin(bench.own, answer.request)
    assert bench.held()["sessions"] <= 1


def test_the_same_answer_made_of_something_else_takes_the_place_of_the_first(bench: Bench) -> None:
    """Flower goes by what it was told first, and would never delete what comes with what it is told later."""
    answer = bench.ordered()
    held = bench.held()
    bench.sent(answer, parts=[])
    bench.replies.begin(bench.own, _with_root(answer, tree(answer.message_id, tree(A), tree(B))))
    assert bench.held()["objects"] == held["objects"] + 3
    bench.replies.begin(bench.own, answer.request)
    bench.sent(answer)
    assert bench.held()["objects"] == held["objects"] + 3
    bench.replies.begin(bench.own, _with_root(answer, tree(A)))  # Flower takes one whole answer to an order
    assert bench.held() == {**bench.held(), "objects": held["objects"] + 3, "answers": 1, "latest": 1}
    bench.replies.drop(bench.own, bench.the_run)
    assert bench.held() == {**held, "orders": held["orders"] - 1}


def test_what_is_whole_is_what_it_says_and_nobody_may_say_otherwise(bench: Bench) -> None:
    order = bench.state.object_store.get_object_tree(bench.order(bench.the_run, bench.own))
    with pytest.raises(NotYoursError):
        bench.replies.begin(bench.own, _with_root(bench.ordered(), tree(C, tree(order.children[0].object_id, tree(A)))))
    assert not any(name in bench.state.object_store for name in (A, B, C))
    answer = bench.ordered()
    response = bench.replies.begin(bench.own, _with_root(answer, tree(answer.message_id, tree(A))))
    with pytest.raises(NotYoursError):
        bench.replies.add(bench.own, bench.part(response, answer.message_id, answer.parts[answer.message_id]))
    assert not any(name in bench.state.object_store for name in (A, answer.message_id))


def test_who_guesses_a_part_of_another_s_answer_and_lies_about_it_is_dropped(bench: Bench) -> None:
    liar = bench.node()
    honest = bench.ordered()
    for part in (root_of(honest), root_of(honest).children[0]):
        lie = _with_root(bench.ordered(node=liar), tree(C, tree(part.object_id, tree(A))))
        bench.replies.begin(liar, lie)
        bench.sent(honest)
        assert bench.state.object_store.get_object_tree(honest.message_id) == root_of(honest)
        assert bench.state.object_store.get(honest.message_id) == honest.parts[honest.message_id]
        assert (liar, bench.the_run) not in bench.replies._latest
        with pytest.raises(NotYoursError):
            bench.replies.begin(liar, lie)
        bench.replies.drop(bench.own, bench.the_run)
        bench.state.object_store.delete(honest.message_id)
        honest = bench.ordered()


def test_a_part_counts_for_each_answer_that_has_it(bench: Bench) -> None:
    """So that nobody keeps what another paid for and dropped."""
    other = bench.node()
    first, second = bench.ordered(bytes(5000)), bench.ordered(b"", other)
    theirs = _with_root(second, tree(C, root_of(first)))
    bench.replies.begin(other, theirs)
    before = bench.quotas.kept(other, bench.the_run)
    bench.sent(first)
    size = sum(map(len, first.parts.values()))
    assert bench.quotas.kept(other, bench.the_run) == before + size
    bench.replies.drop(bench.own, bench.the_run)
    assert bench.quotas.bytes == before + size
    bench.replies.begin(other, theirs)  # again, now that they are there
    assert bench.quotas.bytes == before + size
    bench.replies.drop(other, bench.the_run)
    assert bench.quotas.bytes == 0


def root_of(answer: Answer) -> ObjectTree:
    return answer.request.message_object_trees[0]


def test_an_answer_larger_than_the_server_takes_is_refused() -> None:
    bench = Bench(LIMITS.model_copy(update={"answer_bytes": 10_000}))
    small = bench.ordered(bytes(5000))
    bench.sent(small)
    with pytest.raises(AnswerTooLargeError):
        bench.sent(bench.ordered(bytes(7000)))
    many = _with_root(bench.ordered(), tree(A, *(tree(name_of(number)) for number in range(10, 30))))
    with pytest.raises(AnswerTooLargeError):
        bench.replies.begin(bench.own, many)
    assert bench.held()["latest"] == bench.quotas.bytes == 0
    assert bench.held()["sessions"] == 0


def test_an_answer_for_which_there_is_no_room_is_not_kept() -> None:
    bench = Bench(LIMITS.model_copy(update={"superlink_bytes": 10_000}))
    many = _with_root(bench.ordered(), tree(A, *(tree(name_of(number)) for number in range(10, 30))))
    with pytest.raises(OverQuotaError):
        bench.replies.begin(bench.own, many)
    assert bench.held()["latest"] == bench.held()["answers"] == bench.quotas.bytes == 0


def test_what_the_server_has_fetched_counts_no_longer(bench: Bench) -> None:
    answer = bench.ordered(bytes(1000))
    bench.sent(answer)
    bench.replies.forget_ended()
    assert bench.quotas.bytes > 1000
    bench.state.object_store.delete(answer.message_id)
    bench.replies.forget_ended()
    assert bench.quotas.bytes == 0


def test_a_run_that_ended_takes_no_answer_and_what_was_kept_of_it_is_forgotten(bench: Bench) -> None:
    answer = bench.ordered()
    bench.sent(answer)
    assert bench.state.stop_run(bench.the_run)
    assert b'"code":2007' in bench.ask("push-messages", answer.request, bench.own).body
    bench.replies.forget_ended()
    assert bench.replies._latest == {}
    assert bench.quotas.bytes == 0


def test_a_run_that_never_was_takes_none_either(bench: Bench) -> None:
    answer = bench.ordered()
    answer.request.messages_list[0].metadata.run_id = 77
    assert b'"code":2007' in bench.ask("push-messages", answer.request, bench.own).body


names = st.integers(0, 6).map(name_of)
trees = st.recursive(
    names.map(tree), lambda inner: st.builds(lambda name, parts: tree(name, *parts), names, st.lists(inner, max_size=3))
)


@settings(max_examples=200)
@given(st.lists(trees, max_size=6))
def test_whatever_trees_a_node_sends_one_answer_s_parts_are_kept_at_most(roots: list[ObjectTree]) -> None:
    bench = _shared()
    order = bench.order(bench.the_run, bench.own)
    start = bench.held()["objects"]
    kept = 0
    for root in roots:
        with contextlib.suppress(NotYoursError):
            bench.replies.begin(bench.own, _with_root(bench.answer(bench.own, bench.the_run, order), root))
            kept = len({part.object_id for part in iterate_object_tree(root)})
        assert bench.held()["objects"] - start <= kept
    bench.replies.drop(bench.own, bench.the_run)
    assert bench.held()["objects"] == start
    assert bench.held()["sessions"] == bench.held()["roots"] == bench.held()["answers"] == bench.quotas.bytes == 0


def test_a_part_that_stands_for_more_than_it_says_does_so_no_longer(bench: Bench) -> None:
    """It would keep what it does not count for; and doubled again and again, Flower would never end listing it."""
    other = bench.node()
    bench.sent(bench.ordered(), parts=[])
    bench.replies.begin(bench.own, _with_root(bench.ordered(), tree(A, tree(B), tree(C))))
    bench.replies.begin(other, _with_root(bench.ordered(node=other), tree(name_of(4), tree(A), tree(A))))
    assert bench.state.object_store.get_object_tree(A) == tree(A)
    assert not any(name in bench.state.object_store for name in (B, C))


_SHARED: list[Bench] = []


def _shared() -> Bench:
    if not _SHARED:
        _SHARED.append(Bench())
    return _SHARED[0]
