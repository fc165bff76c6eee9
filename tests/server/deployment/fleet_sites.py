"""Sites without a model that reach a real server through its front: TLS, node keys, Flower's Fleet protocol.

federation = FleetFederation(recipe, 3, server_key)
federation.roster.save(path)
with federation.connected("localhost:9443", ca):
    ...
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPushError,
    pull_and_inflate_object_from_tree,
    push_object_contents_from_iterable,
)
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufClientInterceptor, ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity, key_to_text
from sealora_common.recipe import Recipe
from sealora_common.roster import GENESIS, Member, Roster

from pure_sites import LAYOUT, PureSite, pure_federation

HEARTBEAT_SECONDS = 30.0
_IDLE_SECONDS = 0.05


def fleet_client(
    address: str, ca: Path, key: EllipticCurvePrivateKey, *more: ProtobufClientInterceptor
) -> FleetHttpClient:
    """Flower's own Fleet client, authenticated by `key`. Of `more`, what is an `Eavesdropper` sees signed requests."""
    before = [each for each in more if not isinstance(each, Eavesdropper)]
    after = [each for each in more if isinstance(each, Eavesdropper)]
    signing = NodeAuthHttpInterceptor(key, key.public_key())
    return FleetHttpClient.from_server_address(address, False, ca.read_bytes(), interceptors=[*before, signing, *after])


@dataclass
class Eavesdropper:
    """Keeps every request as it went over the wire, signature and all."""

    heard: list[httpx.Request] = field(default_factory=list)

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Sends the request and keeps it."""
        response = call_next(context)
        self.heard.append(context.request)
        return response


class Patient:
    """Asks again, as the same node, where a front or a SuperLink is not there for a moment."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Sends the request, signed anew each time."""
        plain = context.request.headers.copy()
        while True:
            context.request.headers = plain.copy()
            try:
                response = call_next(context)
                if response.status_code not in {502, 503, 504} or self._stopping.is_set():
                    return response
            except httpx.TransportError:
                if self._stopping.is_set():
                    raise
            self._stopping.wait(0.1)


@dataclass
class FleetSite:
    """One site in a thread: takes messages, answers them as `part` does, and comes back after every failure."""

    part: PureSite
    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP384R1()))
    before: Callable[[str, str], None] = lambda site, action: None
    """Called with (site, action) before each answer; may block or raise."""
    failures: list[str] = field(default_factory=list)
    eavesdropper: Eavesdropper = field(default_factory=Eavesdropper)

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def node_key(self) -> str:
        return self.key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def work(self, address: str, ca: Path, stopping: threading.Event) -> None:
        """Serves until `stopping` is set."""
        while not stopping.is_set():
            try:
                with fleet_client(address, ca, self.key, Patient(stopping), self.eavesdropper) as client:
                    self._connected(client, stopping)
            except (httpx.HTTPError, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                stopping.wait(0.2)

    def _connected(self, client: FleetHttpClient, stopping: threading.Event) -> None:
        public = public_key_to_bytes(self.key.public_key())
        request = ActivateNodeRequest(public_key=public, heartbeat_interval=HEARTBEAT_SECONDS)
        node = Node(node_id=client.ActivateNode(request).node_id)
        beat = time.monotonic()
        try:
            while not stopping.is_set():
                if time.monotonic() - beat > HEARTBEAT_SECONDS / 2:
                    beat = time.monotonic()
                    client.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=node, heartbeat_interval=HEARTBEAT_SECONDS))
                if not self._answer_one(client, node):
                    stopping.wait(_IDLE_SECONDS)
        finally:
            with contextlib.suppress(httpx.HTTPError):
                client.DeactivateNode(DeactivateNodeRequest(node_id=node.node_id))

    def _answer_one(self, client: FleetHttpClient, node: Node) -> bool:
        pulled = client.PullMessages(PullMessagesRequest(node=node))
        if not pulled.messages_list:
            return False
        envelope = message_from_proto(pulled.messages_list[0])
        run_id = envelope.metadata.run_id
        message = pull_and_inflate_object_from_tree(
            pulled.message_object_trees[0],
            make_pull_object_fn_protobuf(client.PullObject, node, run_id),
            make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, node, run_id),
            return_type=Message,
        )
        message.metadata.__dict__.update(envelope.metadata.__dict__)
        action = message.metadata.message_type
        self.before(self.name, action)
        reply: Any = Message(self.part.answer(action, message.content), reply_to=message)
        reply.metadata.__dict__["_message_id"] = reply.object_id
        self._push(client, node, reply)
        return True

    def _push(self, client: FleetHttpClient, node: Node, reply: Any) -> None:
        objects = get_all_nested_objects(reply)
        envelope, run_id = message_to_proto(remove_content_from_message(reply)), reply.metadata.run_id
        while True:
            pushed = client.PushMessages(
                PushMessagesRequest(
                    node=node,
                    messages_list=[envelope],
                    message_object_trees=[get_object_tree(reply)],
                    clientapp_runtime_list=[0.0],
                )
            )
            try:
                push_object_contents_from_iterable(
                    ((number, objects[number].deflate()) for number in pushed.objects_to_push),
                    make_push_object_fn_protobuf(client.PushObject, node, run_id, pushed.session_id),
                )
                return
            except ObjectPushError:  # an object that had come before the front died; the server says what it lacks
                continue


class FleetFederation:
    """`count` sites and the roster that lists them, their node keys, and the server's key."""

    def __init__(self, recipe: Recipe, count: int, server_key: bytes) -> None:
        _, parts = pure_federation(recipe, count, layout=LAYOUT)
        self.sites = [FleetSite(part) for part in parts.values()]
        self.coordinator = Identity.create("coordinator", SystemEntropy())
        self.server_key = server_key
        self.roster = self.signed_roster()

    def signed_roster(self, former: Roster | None = None) -> Roster:
        """A roster of the sites as they are, which follows the `former`; the sites take it."""
        members = tuple(
            Member(name=site.name, public_key=site.part.identity.public_key_text, node_key=site.node_key)
            for site in sorted(self.sites, key=lambda site: site.name)
        )
        roster = Roster(
            consortium="pure",
            coordinator=self.coordinator.public_key_text,
            server=key_to_text(self.server_key),
            members=members,
            sequence=1 if former is None else former.sequence + 1,
            previous=GENESIS if former is None else former.hash.hex(),
        ).signed(self.coordinator)
        for site in self.sites:
            site.part.roster = roster
        return roster

    @contextlib.contextmanager
    def connected(self, address: str, ca: Path) -> Iterator[None]:
        """The sites at work."""
        stopping = threading.Event()
        threads = [threading.Thread(target=site.work, args=(address, ca, stopping)) for site in self.sites]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            for thread in threads:
                thread.join(timeout=30)
