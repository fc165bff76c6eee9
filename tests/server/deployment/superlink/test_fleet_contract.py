"""Our Fleet answers a registered node as Flower's own application does: status, media type and body.

What differs on purpose stands in `DIFFERENT`, with both answers.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
import time
from collections.abc import Callable, Generator
from functools import cache
from types import SimpleNamespace
from typing import Any

import fleet_bench
import pytest
from fleet_bench import Answered, FleetBench, name_of, posted, signed
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesResponse,
    RegisterNodeFleetRequest,
    UnregisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest, GetRunResponse
from flwr.server.superlink.linkstate import in_memory_linkstate
from flwr.supercore.corestate import in_memory_corestate
from flwr.superlink.main import create_app
from google.protobuf.message import Message as Proto

from sealora_server.deployment.superlink.paths import FLEET_PATHS, PREFIX

Case = Generator[tuple[str, Proto | bytes], Answered, None]
ACTIONS = sorted(path.removeprefix(PREFIX) for path in FLEET_PATHS)
NODE, RUN = 11, 12  # 1 is Flower's own


def of(kind: type[Proto], **fields: Any) -> Proto:
    """A request of the one node."""
    return kind(node=Node(node_id=NODE), **fields)


def once(*request: Any) -> Callable[[FleetBench], Case]:
    def case(bench: FleetBench) -> Case:
        yield request

    return case


def ended(*request: Any) -> Callable[[FleetBench], Case]:
    def case(bench: FleetBench) -> Case:
        assert bench.state.stop_run(RUN)
        yield request

    return case


def activated(bench: FleetBench) -> Case:
    yield "activate-node", ActivateNodeRequest(public_key=bench.pem(NODE), heartbeat_interval=30)
    yield "activate-node", ActivateNodeRequest(public_key=bench.pem(NODE), heartbeat_interval=30)
    yield "activate-node", ActivateNodeRequest(public_key=bench.pem(NODE), heartbeat_interval=1)
    yield "send-node-heartbeat", of(SendNodeHeartbeatRequest, heartbeat_interval=30)
    yield "send-node-heartbeat", of(SendNodeHeartbeatRequest, heartbeat_interval=float("nan"))
    yield "deactivate-node", DeactivateNodeRequest(node_id=NODE)
    yield "deactivate-node", DeactivateNodeRequest(node_id=NODE)
    yield "send-node-heartbeat", of(SendNodeHeartbeatRequest, heartbeat_interval=30)


def registered(bench: FleetBench) -> Case:
    yield "register-node", RegisterNodeFleetRequest(public_key=bench.pem(NODE))
    yield "unregister-node", UnregisterNodeFleetRequest(node_id=NODE)


def exchanged(bench: FleetBench) -> Case:
    """A message fetched and answered, with everything done twice that may be."""
    yield "pull-messages", of(PullMessagesRequest)
    order = bench.order(RUN, NODE)
    yield "pull-messages", of(PullMessagesRequest)
    yield "pull-messages", of(PullMessagesRequest)
    for name in ids(bench, order):
        yield "pull-object", of(PullObjectRequest, run_id=RUN, object_id=name)
    for name in (name_of(0), "", "nonsense"):
        yield "pull-object", of(PullObjectRequest, run_id=RUN, object_id=name)
    for _ in range(2):
        yield "confirm-message-received", of(ConfirmMessageReceivedRequest, run_id=RUN, message_object_id=order)
    yield "pull-object", of(PullObjectRequest, run_id=RUN, object_id=order)
    answer = bench.answer(NODE, RUN, order)
    for _ in range(2):
        pushed = yield "push-messages", answer.request
    session = PushMessagesResponse.FromString(pushed.body).session_id
    for name, content in answer.parts.items():
        part = {"run_id": RUN, "object_id": name}
        yield "push-object", of(PushObjectRequest, **part, session_id=session, object_content=b"wrong")
        yield "push-object", of(PushObjectRequest, **part, session_id="other", object_content=content)
        for _ in range(2):
            yield "push-object", of(PushObjectRequest, **part, session_id=session, object_content=content)
    yield "push-messages", answer.request
    yield "push-messages", bench.answer(NODE, RUN, name_of(0)).request


def ids(bench: FleetBench, order: str) -> list[str]:
    root = bench.state.object_store.get_object_tree(order)
    return [order, *(child.object_id for child in root.children)]


def answered_too_late(bench: FleetBench) -> Case:
    answer = bench.answer(NODE, RUN, bench.order(RUN, NODE))
    pushed = yield "push-messages", answer.request
    assert bench.state.stop_run(RUN)
    session = PushMessagesResponse.FromString(pushed.body).session_id
    name, content = next(iter(answer.parts.items()))
    yield (
        "push-object",
        of(PushObjectRequest, run_id=RUN, session_id=session, object_id=name, object_content=content),
    )
    yield "push-messages", answer.request


def confirmed_too_late(bench: FleetBench) -> Case:
    order = bench.order(RUN, NODE)
    yield "pull-messages", of(PullMessagesRequest)
    assert bench.state.stop_run(RUN)
    yield "confirm-message-received", of(ConfirmMessageReceivedRequest, run_id=RUN, message_object_id=order)
    yield "pull-object", of(PullObjectRequest, run_id=RUN, object_id=order)


CASES: dict[str, Callable[[FleetBench], Case]] = {
    "a node comes and goes": activated,
    "a node registers itself": registered,
    "a message is answered": exchanged,
    "a run ended before the answer": answered_too_late,
    "a run ended before the confirmation": confirmed_too_late,
    "a run": once("get-run", of(GetRunRequest, run_id=RUN)),
    "a run that is not": once("get-run", of(GetRunRequest, run_id=77)),
    "a run that ended": ended("get-run", of(GetRunRequest, run_id=RUN)),
    "a bundle that is not": once("get-fab", of(GetFabRequest, run_id=RUN, hash_str="a")),
    "a bundle of a run that is not": once("get-fab", of(GetFabRequest, run_id=77, hash_str="a")),
    "a bundle of a run that ended": ended("get-fab", of(GetFabRequest, run_id=RUN, hash_str="a")),
    "a part of a run that ended": ended("pull-object", of(PullObjectRequest, run_id=RUN, object_id="a")),
    **{f"{action}: no message": once(action, b"\xff\xff") for action in ACTIONS},
}


class Pair:
    """Two states that are alike, one behind our Fleet and one behind Flower's application."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        moment = time.time()
        patch.setattr(fleet_bench, "time", SimpleNamespace(time=lambda: moment))
        self.own, self.flower = self._alike(patch), self._alike(patch)

    def _alike(self, patch: pytest.MonkeyPatch) -> FleetBench:
        numbers = itertools.count(NODE)
        patch.setattr(in_memory_linkstate, "generate_rand_int_from_bytes", lambda *_, **__: next(numbers))
        bench = FleetBench()
        assert bench.node() == NODE
        assert bench.run() == RUN
        return bench

    def ask(self, bench: FleetBench, case: Callable[[FleetBench], Case], app: Any) -> list[Any]:
        found: list[Any] = []
        sessions = itertools.count()
        self._patch.setattr(in_memory_corestate, "uuid4", lambda: f"session {next(sessions)}")
        asking = case(bench)
        answer = None
        while True:
            try:
                action, body = asking.send(answer) if answer else next(asking)  # type: ignore[arg-type]
            except StopIteration:
                return found
            answer = asyncio.run(bench.post(action, body, NODE, app=app))
            found.append((action, answer.status, answer.headers.get("content-type"), _timeless(action, answer)))


def _timeless(action: str, answer: Answered) -> object:
    """A body without what differs between two runs that are alike."""
    if action != "get-run" or answer.status != 200:
        return answer.body
    shown = GetRunResponse.FromString(answer.body)
    for name in ("pending_at", "starting_at", "running_at", "primary_task_id", "series_id"):
        shown.run.ClearField(name)
    return shown


@cache
def flower() -> Any:
    return create_app()


def flower_of(bench: FleetBench) -> Any:
    app = flower()
    app.state.linkstate_factory = bench.factory
    app.state.enable_supernode_auth = True
    return app


@pytest.mark.parametrize("what", CASES)
def test_a_registered_node_is_answered_as_flower_does(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch)
    ours = pair.ask(pair.own, CASES[what], pair.own.fleet)
    theirs = pair.ask(pair.flower, CASES[what], flower_of(pair.flower))
    assert ours == theirs


def unsigned(bench: FleetBench, action: str, app: Any) -> Answered:
    return asyncio.run(bench.post(action, b"", None, app=app))


def of_a_stranger(bench: FleetBench, action: str, app: Any) -> Answered:
    stranger = fleet_bench._key(99)
    headers = signed(stranger, datetime.datetime.now(datetime.UTC).isoformat())
    body: Proto = ActivateNodeRequest(
        public_key=fleet_bench.public_key_to_bytes(stranger.public_key()), heartbeat_interval=30
    )
    if action != "activate-node":
        body = DeactivateNodeRequest(node_id=NODE)
    return asyncio.run(
        posted(app, action, [body.SerializeToString()], [*headers, (b"content-type", b"application/protobuf")])
    )


def test_a_stranger_who_activates_itself_is_told_what_flower_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site is told to have its card taken into the roster."""
    pair = Pair(monkeypatch)
    ours = of_a_stranger(pair.own, "activate-node", pair.own.fleet)
    theirs = of_a_stranger(pair.flower, "activate-node", flower_of(pair.flower))
    assert (ours.status, ours.body) == (theirs.status, theirs.body)


def _in_the_server_s_name(bench: FleetBench, app: Any) -> Answered:
    other = bench.node()
    answer = bench.answer(NODE, RUN, bench.order(RUN, NODE))
    metadata = answer.request.messages_list[0].metadata
    metadata.src_node_id, metadata.dst_node_id, metadata.reply_to_message_id = 1, other, ""
    return asyncio.run(bench.post("push-messages", answer.request, NODE, app=app))


def _to_a_run_that_never_was(bench: FleetBench, app: Any) -> Answered:
    answer = bench.answer(NODE, 77, name_of(0))
    return asyncio.run(bench.post("push-messages", answer.request, NODE, app=app))


def _a_part_of_no_run(bench: FleetBench, app: Any) -> Answered:
    return asyncio.run(bench.post("pull-object", of(PullObjectRequest, run_id=77, object_id="a"), NODE, app=app))


def _a_part_of_another_s_message(bench: FleetBench, app: Any) -> Answered:
    other = bench.node()
    bench.order(RUN, NODE)
    asyncio.run(bench.post("pull-messages", of(PullMessagesRequest), NODE, app=app))
    part = of(PullObjectRequest, run_id=RUN, object_id=bench.order(RUN, other))
    answered = asyncio.run(bench.post("pull-object", part, NODE, app=app))
    return Answered(len(answered.body) > 100, answered.headers)


def _another_s_confirmation(bench: FleetBench, app: Any) -> Answered:
    order = bench.order(RUN, bench.node())
    request = of(ConfirmMessageReceivedRequest, run_id=RUN, message_object_id=order)
    asyncio.run(bench.post("confirm-message-received", request, NODE, app=app))
    return Answered(order in bench.state.object_store)


def _another_media_type(bench: FleetBench, app: Any) -> Answered:
    return asyncio.run(bench.post("get-run", b"", NODE, [(b"content-type", b"text/plain")], app=app))


def _in_another_node_s_name(bench: FleetBench, app: Any) -> Answered:
    return asyncio.run(bench.post("deactivate-node", DeactivateNodeRequest(node_id=7), NODE, app=app))


DIFFERENT: dict[str, tuple[Callable[[FleetBench, Any], Answered], object, object]] = {
    "who does not sign is not read": (lambda bench, app: unsigned(bench, "get-run", app), 401, 401),
    "nor is its media type looked at": (
        lambda bench, app: asyncio.run(posted(app, "get-run", [b""], [(b"content-type", b"text/plain")])),
        401,
        415,
    ),
    "an order in the server's name": (_in_the_server_s_name, 403, 200),
    "an answer in a run that never was": (_to_a_run_that_never_was, 403, 500),
    "a part in a run that never was": (_a_part_of_no_run, 403, 500),
    "a part of another's message": (_a_part_of_another_s_message, False, True),
    "another's message, confirmed, stays": (_another_s_confirmation, True, False),
    "another media type: the same, in other words or not": (_another_media_type, 415, 415),
    "another node's number": (_in_another_node_s_name, 401, 401),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_differs_does_so_on_purpose(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch)
    ask, ours, theirs = DIFFERENT[what]
    assert ask(pair.own, pair.own.fleet).status == ours
    assert ask(pair.flower, flower_of(pair.flower)).status == theirs


def test_a_refusal_of_ours_has_no_body_where_flower_s_has_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(monkeypatch)
    ours = unsigned(pair.own, "get-run", pair.own.fleet)
    theirs = unsigned(pair.flower, "get-run", flower_of(pair.flower))
    assert (ours.status, ours.body, ours.headers["connection"]) == (401, b"", "close")
    assert json.loads(theirs.body) == {"detail": "Invalid SuperNode authentication"}
