"""Whatever is asked of the Fleet, by a node or a stranger: there is an answer, and nothing grows.

Bodies are made of what a node could know (its own orders, its own answers, names of parts, runs and sessions that are,
were or never were), then damaged; headers likewise.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest
from fleet_bench import PROTOBUF, FleetBench, Headers, _key, name_of, signed, tree
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import NodeStatus
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sealora_common.network.frames import FRAMES, WAIT, to_frames
from sealora_common.round.wire_format import PULL_ID
from sealora_server.deployment.superlink.paths import FLEET_PATHS, PREFIX

ACTIONS = sorted(path.removeprefix(PREFIX) for path in FLEET_PATHS)
REQUESTS = 20
"""So many are made of one state, one after another."""


class Bench(FleetBench):
    """Two nodes, a run that goes on and one that is over, orders, and answers under way."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.other = self.node(), self.node()
        self.the_run, self.over = self.run(), self.run()
        self.state.stop_run(self.over)
        own, other, self.stranger = _headers(int(time.monotonic() // 60))
        self.headers = {self.own: own, self.other: other}
        self.orders: list[str] = []
        self.contents: dict[str, bytes] = {}
        self.before = self.held()

    def prepare(self) -> None:
        """There is an order for each node, and Flower has both nodes for connected."""
        self.fleet._auth._seen.clear()  # signing takes longer than all the rest
        for node in self.keys:
            if not any(each.metadata.dst_node_id == node for each in self.state.message_ins_store.values()):
                self.orders.append(self.order(self.the_run, node))
        if not self.fleet.replies._latest:
            answer = self.answer(self.own, self.the_run, self._order_of(self.own))
            self.contents = answer.parts
            assert self.ask("push-messages", answer.request, self.own).status == 200
            self.fleet._auth._seen.clear()
        for node in self.keys:
            if self.state.nodes[node].status != NodeStatus.ONLINE:
                self.state.activate_node(node, 60)

    def _order_of(self, node: int) -> str:
        return next(name for name, each in self.state.message_ins_store.items() if each.metadata.dst_node_id == node)

    def signed(self, node: int, signed_at: str | None = None) -> Headers:
        return self.headers[node]

    @property
    def sessions(self) -> list[str]:
        return [reply.session for reply in self.fleet.replies._latest.values()]

    @property
    def parts(self) -> list[str]:
        return [name for reply in self.fleet.replies._latest.values() for name in reply.parts]

    def require_no_growth(self) -> None:
        """There is what the orders are made of, what is counted as the nodes', and nothing else."""
        held, latest = self.held(), self.fleet.replies._latest
        assert held["objects"] <= 3 * self._orders + sum(len(reply.parts) for reply in latest.values())
        assert held["content"] <= 500 * self._orders + self.fleet.quotas.bytes
        assert self.fleet.quotas.bytes <= self.limits.superlink_bytes
        assert set(latest) <= {(node, run) for node in self.keys for run in (self.the_run, self.over)}
        assert held["orders"] <= self._orders
        for what in ("answers", "sessions", "roots"):
            assert held[what] <= len(latest), what
        for what in ("nodes", "runs"):
            assert held[what] == self.before[what]
        for what in ("askers", "counted", "signers", "locks"):
            assert held[what] <= len(self.keys)
        assert all(of.under_way == of.arriving == 0 for of in self.fleet.quotas._nodes.values())


@cache
def _headers(_: int) -> list[Headers]:
    now = datetime.datetime.now(datetime.UTC).isoformat()
    return [signed(_key(number), now) for number in (0, 1, 50)]


# What is drawn must not depend on a state whose numbers are random, so that an example can be run again.
many = st.integers(0, 999)
few = st.integers(0, 5).map(name_of)
numbers = st.sampled_from([0, 1, 2, 2**63, 2**64 - 1])
floats = st.sampled_from([0.0, 30.0, -1.0, 1e300, float("nan"), float("inf"), 1.8e9])
words = st.text(max_size=5) | few
shapes = st.recursive(many, lambda inner: st.tuples(many, st.lists(inner, max_size=3)), max_leaves=6)


def one_of(draw: Any, items: Iterable[Any]) -> Any:
    found = list(items)
    return found[draw(many) % len(found)]


def shaped(shape: Any, names: list[str]) -> ObjectTree:
    number, parts = (shape, []) if isinstance(shape, int) else shape
    return tree(names[number % len(names)], *(shaped(part, names) for part in parts))


def filled(draw: Any, bench: Bench, request: Any) -> None:
    """Fills in the fields of a request, with what the node could know or anything."""
    known = [*bench.orders[-4:], *bench.parts]
    own: dict[str, Callable[[], Any]] = {
        "node": lambda: Node(node_id=own["node_id"]()),
        "node_id": lambda: one_of(draw, [bench.own] * 8 + [bench.other, 0]),
        "run_id": lambda: one_of(draw, [bench.the_run] * 6 + [bench.over, 77, 0, 2**64 - 1]),
        "public_key": lambda: one_of(draw, [bench.pem(bench.own)] * 3 + [bench.pem(bench.other), b"", b"?"]),
        "object_id": lambda: one_of(draw, [*known, draw(words)]),
        "message_object_id": lambda: one_of(draw, [*known, draw(words)]),
        "session_id": lambda: one_of(draw, [*bench.sessions, "", "other"]),
        "heartbeat_interval": lambda: draw(floats),
        "object_content": lambda: one_of(draw, [*bench.contents.values(), draw(st.binary(max_size=40))]),
        "hash_str": lambda: draw(words),
        "message_ids": lambda: draw(st.lists(words, max_size=2)),
    }
    for name in request.DESCRIPTOR.fields_by_name:
        value = own[name]()
        if isinstance(value, Node):
            request.node.CopyFrom(value)
        elif isinstance(value, list):
            getattr(request, name).extend(value)
        else:
            setattr(request, name, value)


def pushed(draw: Any, bench: Bench) -> PushMessagesRequest:
    """An answer that could be the node's, or nearly."""
    order = one_of(draw, [*bench.orders[-3:], name_of(0), ""])
    answer = bench.answer(bench.own, bench.the_run, order, draw(st.binary(max_size=20)))
    bench.contents = answer.parts
    request = answer.request
    metadata = request.messages_list[0].metadata
    if draw(st.booleans()):
        names = [*bench.orders[-3:], *bench.parts, *answer.parts, *map(name_of, range(6)), "x"]
        request.message_object_trees[0].CopyFrom(shaped(draw(shapes), names))
        metadata.message_id = request.message_object_trees[0].object_id
    changes: list[Callable[[], object]] = [
        lambda: setattr(metadata, "src_node_id", one_of(draw, [draw(numbers), bench.other])),
        lambda: setattr(metadata, "dst_node_id", one_of(draw, [draw(numbers), bench.other])),
        lambda: setattr(metadata, "run_id", one_of(draw, [bench.over, 77, 0])),
        lambda: setattr(metadata, "ttl", draw(floats)),
        lambda: setattr(metadata, "created_at", draw(floats)),
        lambda: setattr(metadata, "message_type", draw(words)),
        lambda: setattr(metadata, "message_id", draw(words)),
        lambda: setattr(request.messages_list[0].error, "reason", draw(words)),
        lambda: request.clientapp_runtime_list.extend(draw(st.lists(floats, max_size=2))),
        lambda: request.messages_list.append(
            PushMessagesRequest.FromString(request.SerializeToString()).messages_list[0]
        ),
    ]
    for change in draw(st.lists(st.integers(0, len(changes) - 1), max_size=2)):
        changes[change]()
    return request


def bodies(draw: Any, bench: Bench, action: str) -> tuple[bytes, Headers]:
    """A body and the headers that say what it is."""
    frames: list[bytes] = []
    request: Any = PROTOBUF_REQUEST_TYPES["POST", PREFIX + action]()
    if action == "push-messages":
        request = pushed(draw, bench)
        for number in draw(st.lists(many, max_size=4)):
            name = sorted(bench.contents)[number % 3]
            content = one_of(draw, [bench.contents[name], bench.contents[name], b"", b"nonsense"])
            frames.append(PushObjectRequest(object_id=name, object_content=content).SerializeToString())
    else:
        filled(draw, bench, request)
    body = request.SerializeToString()
    media = PROTOBUF
    if draw(st.booleans()):
        body, media = to_frames([body, *frames]), FRAMES
    damage, at = draw(st.integers(0, 9)), draw(many)
    if damage == 0:
        body = draw(st.binary(max_size=100))
    elif damage == 1:
        body = body[: at % (len(body) + 1)]
    elif damage == 2:
        at %= len(body) + 1
        body = body[:at] + bytes([draw(st.integers(0, 255))]) + body[at + 1 :]
    elif damage == 3:
        media = draw(st.sampled_from([FRAMES, PROTOBUF, PROTOBUF + "; x=y", "text/plain", "", "\x80"]))
    return body, [(b"content-type", media.encode("latin-1"))]


def senders(draw: Any, bench: Bench) -> tuple[int | None, Headers]:
    """Who sends it, and further headers, of which some are bad."""
    more: Headers = []
    if draw(st.booleans()):
        more += [(WAIT.encode(), draw(st.sampled_from([b"0", b"", b"-1", b"x" * 50, b"1e3"])))]
        more += [(PULL_ID.encode(), draw(st.binary(max_size=80)))]
        more += [(b"accept", draw(st.sampled_from([FRAMES.encode(), PROTOBUF.encode(), b"\xff"])))]
    who = draw(st.integers(0, 9))
    if who < 7:
        return bench.own, more
    if who == 7:
        return None, [*more, *bench.stranger]
    if who == 8:
        return None, more
    own = bench.headers[bench.own]
    index = draw(st.integers(0, 2))
    return None, [*more, *own[:index], (own[index][0], draw(st.binary(max_size=60))), *own[index + 1 :]]


def fuzz(action: str, data: st.DataObject) -> None:
    bench = Bench()
    for _ in range(REQUESTS):
        bench.prepare()
        body, media = bodies(data.draw, bench, action)
        node, more = senders(data.draw, bench)
        answered = bench.ask(action, body, node, [*media, *more])
        assert answered.status is not None, body
        assert answered.status < 500 or answered.status == 503, (answered, body)
        if node is None:  # Flower's word to who activates itself with an unknown key is 412
            assert answered.status == 401 or (action, answered.status) == ("activate-node", 412), answered
        bench.require_no_growth()


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]


@pytest.mark.parametrize("action", ACTIONS)
def test_whatever_is_asked_there_is_an_answer_and_no_growth(action: str) -> None:
    @settings(max_examples=6, suppress_health_check=QUIET)
    @given(st.data())
    def fuzzed(data: st.DataObject) -> None:
        fuzz(action, data)

    fuzzed()


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
def test_whatever_is_asked_a_hundred_thousand_times_of_each_path(action: str) -> None:
    @settings(
        max_examples=100_000 // REQUESTS,
        suppress_health_check=QUIET,
        database=None,
        phases=[Phase.generate],
    )
    @given(st.data())
    def fuzzed(data: st.DataObject) -> None:
        fuzz(action, data)

    fuzzed()
