"""The Fleet API over ASGI, with registered nodes, runs, orders and answers, and no process.

bench = FleetBench()
node, run = bench.node(), bench.run()
order = bench.order(run, node)
answer = bench.answer(node, run, order, b"payload")
bench.ask("push-messages", answer.request, node).status
"""

from __future__ import annotations

import asyncio
import datetime
import time
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey, generate_private_key
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.app.message.message import make_message
from flwr.app.metadata import Metadata
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID, TIMESTAMP_HEADER
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLEET_HTTP_SIGNATURE_HEADER,
    FLWR_IN_MEMORY_DB_NAME,
    NOOP_FEDERATION_ID,
    TaskType,
)
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories
from google.protobuf.message import Message as Proto
from starlette.types import ASGIApp

from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.superlink.fleet import Fleet
from sealora_server.deployment.superlink.paths import PREFIX

PROTOBUF = "application/protobuf"
Headers = list[tuple[bytes, bytes]]
LIMITS = LimitsSection(node_requests_per_second=100_000, node_request_burst=1_000_000)


@dataclass
class Answered:
    """A response; without a status where the connection ended without one."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def send(self, message: Any) -> None:
        """Takes what an application sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


@dataclass
class Answer:
    """A node's answer: its envelope, and its parts by name."""

    request: PushMessagesRequest
    parts: dict[str, bytes]

    @property
    def message_id(self) -> str:
        return str(self.request.message_object_trees[0].object_id)


@dataclass
class FleetBench:
    """A Fleet, its state, and the nodes' keys."""

    limits: LimitsSection = LIMITS
    database: str = FLWR_IN_MEMORY_DB_NAME
    keys: dict[int, EllipticCurvePrivateKey] = field(default_factory=dict)
    told: list[int] = field(default_factory=list)
    tokens: dict[int, str] = field(default_factory=dict)
    """Run -> its ServerApp's token."""

    def __post_init__(self) -> None:
        _, self.factory = get_objectstore_linkstate_factories(self.database, get_federation_manager())
        self.state: Any = self.factory.state()
        self.fleet = Fleet(self.state, self.limits, self.told.append)
        self._orders = 0
        self._signed_at = datetime.datetime.now(datetime.UTC)

    def node(self) -> int:
        """A registered node that is online."""
        key = _key(len(self.keys))
        pem = public_key_to_bytes(key.public_key())
        number = int(self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, pem, 30))
        self.state.activate_node(number, 60)
        self.keys[number] = key
        return number

    def pem(self, node: int) -> bytes:
        return public_key_to_bytes(self.keys[node].public_key())

    def run(self) -> int:
        """A run that is running."""
        number = self.state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, None, TaskType.SERVER_APP)
        task = self.state.get_run_info(run_ids=[number])[0].primary_task_id
        self.tokens[int(number)] = self.state.claim_task(task)
        assert self.state.activate_task(task)
        return int(number)

    def order(self, run: int, node: int, payload: bytes = b"", ttl: float = 600.0) -> str:
        """Stores a message for a node, of three parts; its name."""
        self._orders += 1
        message = message_of(run, SUPERLINK_NODE_ID, node, "", payload or b"order %d" % self._orders, ttl)
        self.state.object_store.preregister(run, get_object_tree(message))
        for name, each in get_all_nested_objects(message).items():
            self.state.object_store.put(name, each.deflate())
        assert self.state.store_message_ins(remove_content_from_message(message)) is not None
        self.fleet.questions.wake([node])
        return str(message.metadata.message_id)

    def answer(self, node: int, run: int, order: str, payload: bytes = b"answer") -> Answer:
        """What a node may answer to an order."""
        message = message_of(run, node, SUPERLINK_NODE_ID, order, payload, 300.0)
        request = PushMessagesRequest(
            node=Node(node_id=node),
            messages_list=[message_to_proto(remove_content_from_message(message))],
            message_object_trees=[get_object_tree(message)],
            clientapp_runtime_list=[0.0],
        )
        return Answer(request, {name: each.deflate() for name, each in get_all_nested_objects(message).items()})

    def signed(self, node: int, signed_at: str | None = None) -> Headers:
        """The headers of a request of this node, at a time that it has not signed before."""
        self._signed_at += datetime.timedelta(microseconds=1)
        return signed(self.keys[node], signed_at or self._signed_at.isoformat())

    def ask(self, action: str, body: Proto | bytes, node: int | None, more: Headers | None = None) -> Answered:
        """As `post`, in a loop of its own."""
        return asyncio.run(self.post(action, body, node, more))

    async def post(
        self,
        action: str,
        body: Proto | bytes,
        node: int | None,
        more: Headers | None = None,
        app: ASGIApp | None = None,
    ) -> Answered:
        """Asks the Fleet, or another application, as a node or as nobody; `more` headers come before its own."""
        content = body if isinstance(body, bytes) else body.SerializeToString()
        own = [] if node is None else self.signed(node)
        headers = [*(more or []), *own, (b"content-length", b"%d" % len(content))]
        if not any(name == b"content-type" for name, _ in headers):
            headers.append((b"content-type", PROTOBUF.encode()))
        return await posted(app or self.fleet, action, [content], headers)

    def push(self, node: int, answer: Answer, parts: Iterable[str] | None = None) -> Answered:
        """Pushes an answer and these of its parts (all, if not said); the last response."""
        pushed = self.ask("push-messages", answer.request, node)
        if pushed.status != 200:
            return pushed
        session = PushMessagesResponse.FromString(pushed.body).session_id
        run = answer.request.messages_list[0].metadata.run_id
        for name in answer.parts if parts is None else parts:
            part = PushObjectRequest(
                node=Node(node_id=node),
                run_id=run,
                session_id=session,
                object_id=name,
                object_content=answer.parts[name],
            )
            pushed = self.ask("push-object", part, node)
        return pushed

    def held(self) -> dict[str, int]:
        """How much there is of everything in Flower's state and ours that requests may make grow."""
        state, fleet = self.state, self.fleet
        return {
            "objects": len(state.object_store),
            "content": sum(len(entry.content) for entry in state.object_store.store.values()),
            "orders": state.num_message_ins(),
            "answers": state.num_message_res(),
            "sessions": len(state._object_push_sessions),
            "roots": len(state._object_push_session_by_root),
            "nodes": len(state.nodes),
            "runs": len(state.run_ids),
            "latest": len(fleet.replies._latest),
            "askers": len(fleet.questions._nodes),
            "counted": len(fleet.quotas._nodes),
            "signers": len(fleet._auth._seen),
            "locks": len(fleet._locks),
        }


def signed(key: EllipticCurvePrivateKey, signed_at: str) -> Headers:
    """Flower's headers of a request that `key` signs."""
    return [
        (FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode(), b64encode(public_key_to_bytes(key.public_key()))),
        (FLEET_HTTP_SIGNATURE_HEADER.lower().encode(), b64encode(sign_message(key, signed_at.encode()))),
        (TIMESTAMP_HEADER.lower().encode(), signed_at.encode()),
    ]


async def posted(app: ASGIApp, action: str, chunks: list[bytes], headers: Headers) -> Answered:
    """What an application answers to a request whose body comes in chunks."""
    left = list(chunks)
    answered = Answered()

    async def receive() -> Any:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    path = PREFIX + action
    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": None,
        "server": ("x", 80),
        "state": {},
    }
    await app(scope, receive, answered.send)
    return answered


def tree(name: str, *children: ObjectTree) -> ObjectTree:
    """A part and what it is made of."""
    return ObjectTree(object_id=name, children=children)


def name_of(number: int) -> str:
    """A name that a part could have."""
    return f"{number:064x}"


@cache
def _key(number: int) -> EllipticCurvePrivateKey:
    return generate_private_key(SECP384R1())


def message_of(run: int, source: int, destination: int, answers: str, payload: bytes, ttl: float) -> Message:
    """A message, of three parts."""
    metadata = Metadata(
        run_id=run,
        message_id="",
        src_node_id=source,
        dst_node_id=destination,
        reply_to_message_id=answers,
        group_id="",
        created_at=time.time(),
        ttl=ttl,
        message_type="query.hello",
    )
    metadata.delivered_at = ""
    message = make_message(metadata, RecordDict({"config": ConfigRecord({"payload": payload})}))
    metadata.__dict__["_message_id"] = message.object_id
    return message
