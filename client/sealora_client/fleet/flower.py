"""The Fleet calls that a site makes, and how a reply is taken apart for them; how they travel is `transport`'s.

Here and there is all that Sealora uses of Flower's internals. They may change in any release:
`tests/client/fleet/test_contract.py` holds what is used to the pinned version.

Flower's own `http_request_response` is not used: when the server refuses a session it ends the process, by a timer
that cannot be stopped, it kills the process when a request is not authorised, and it follows redirects.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.app import Message, RecordDict
from flwr.app.message.message import make_message, remove_content_from_message
from flwr.app.metadata import Metadata
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE
from flwr.common.serde import message_to_proto
from flwr.common.serde_utils import metadata_from_proto, metadata_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
)
from flwr.proto.message_pb2 import Metadata as ProtoMetadata
from flwr.proto.node_pb2 import Node
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
    push_object_contents_from_iterable,
)
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from sealora_client.fleet.errors import BadMessageError
from sealora_client.fleet.hostile import check_expansion, check_object, check_tree, checked_metadata
from sealora_client.fleet.transport import FleetTransport, bounds_of
from sealora_common.network.bounded_http import AnswerBounds
from sealora_common.network.proxy import Proxy

__all__ = [
    "ApiErrorCode",
    "FleetCalls",
    "FlowerError",
    "Metadata",
    "ObjectTree",
    "Reply",
    "metadata_from_bytes",
    "metadata_to_bytes",
]

CLOCK_AHEAD_SECONDS = SYSTEM_TIME_TOLERANCE
"""How far ahead of the server's clock a site's may be: requests are signed with the time."""
CLOCK_BEHIND_SECONDS = TIMESTAMP_TOLERANCE
"""How far behind the server's clock a site's may be."""


# Of all exchanges that one attempt at a message's objects takes. What has come or gone by then is not lost.
_OBJECTS_SECONDS = 1800.0
_UNAVAILABLE_SECONDS = 60.0
# The server may still be sending a large part to its own SuperLink.
_FIRST_PAUSE_SECONDS = 0.05


class FleetCalls:
    """The calls of the Fleet API that a site makes, as one node. There is none that fetches a bundle.

    Every call raises what httpx raises for transport errors and statuses of 400 and more, and ValueError for a body
    that is no Flower message. Safe to use from several threads.

    Args:
        url: `https://host:port` of the server's front.
        key: the node's P-384 key.
        tls: the context that checks the server's certificate; None for plain HTTP.
        bounds: of each exchange.
        proxy: that leads to the server.
    """

    def __init__(
        self,
        url: str,
        key: EllipticCurvePrivateKey,
        tls: ssl.SSLContext | None,
        bounds: Callable[[httpx.Request], AnswerBounds] = bounds_of,
        proxy: Proxy | None = None,
    ) -> None:
        self._client = FleetTransport(url, key, tls, bounds, proxy)
        self._public_key = public_key_to_bytes(key.public_key())

    def register(self) -> None:
        """Adds this node to a server without node authentication."""
        self._client.RegisterNode(RegisterNodeFleetRequest(public_key=self._public_key))

    def activate(self, heartbeat_interval: float) -> int:
        """Opens a session, which lasts twice `heartbeat_interval` (seconds) beyond each heartbeat; the node's id."""
        request = ActivateNodeRequest(public_key=self._public_key, heartbeat_interval=heartbeat_interval)
        node_id = int(self._client.ActivateNode(request).node_id)
        if not node_id:
            raise ValueError("a session without a node")
        return node_id

    def deactivate(self, node_id: int) -> None:
        """Ends the node's session."""
        self._client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))

    def heartbeat(self, node_id: int, heartbeat_interval: float) -> bool:
        """Prolongs the session; whether the server knows the node."""
        request = SendNodeHeartbeatRequest(node=Node(node_id=node_id), heartbeat_interval=heartbeat_interval)
        return bool(self._client.SendNodeHeartbeat(request).success)

    def pull(self, node_id: int, wait: int) -> tuple[Metadata, ObjectTree, dict[str, bytes]] | None:
        """The next message's metadata, the tree of its objects, and those that came with it.

        The server hands out each message once. A server of ours holds the question until there is one, sends small
        objects along, and gives the same answer again to a question that was asked before and whose answer has not
        come. Flower's own answers at once, and each object is asked for by itself.

        Args:
            node_id: this node.
            wait: seconds for which the question may be held.
        """
        first, *parts = self._client.pull(PullMessagesRequest(node=Node(node_id=node_id)), wait)
        response = PullMessagesResponse.FromString(first)
        self._client.pull_mark.renew()
        if not response.messages_list:
            return None
        metadata = checked_metadata(response.messages_list[0].metadata, node_id)
        # Without a tree it cannot be fetched, but it can be refused.
        tree = response.message_object_trees[0] if response.message_object_trees else ObjectTree()
        contents = [bytes(PullObjectResponse.FromString(part).object_content) for part in parts]
        return metadata, tree, {get_object_id(content): content for content in contents}

    def fetch(
        self, node_id: int, metadata: Metadata, tree: ObjectTree, contents: dict[str, bytes], largest: int
    ) -> tuple[Message, bool]:
        """Fetches a message's objects and puts the message together, under the metadata that came with the pull.

        Args:
            node_id: this node.
            metadata: of the message.
            tree: of its objects.
            contents: the objects' bytes by id. Those that are there are not fetched again; those that come are added,
                so that an attempt that fails is not lost. There are none once the message is put together.
            largest: bytes that the objects may have together.

        Returns:
            The message, and whether anything was fetched: of what came whole the server has let go.

        Raises:
            BadMessageError: the server has withdrawn the message, its objects make none, or they are too large.
        """
        ids = check_tree(tree)
        for object_id in contents.keys() - set(ids):
            del contents[object_id]
        for object_id, content in contents.items():
            check_object(object_id, content)
        budget = _Budget(largest - sum(map(len, contents.values())))
        patience = _Patience()

        def pull(object_id: str) -> bytes:
            patience.check()
            request = PullObjectRequest(node=Node(node_id=node_id), run_id=metadata.run_id, object_id=object_id)
            response = self._client.PullObject(request)
            if not response.object_found:
                raise ObjectPullError(object_id, "the object could not be found.")
            if not response.object_available:
                raise ObjectUnavailableError(object_id)
            budget.take(len(response.object_content))
            check_object(object_id, response.object_content)
            contents[object_id] = bytes(response.object_content)
            return b""

        missing = [object_id for object_id in ids if object_id not in contents]
        try:
            pull_objects(missing, pull, max_time=_UNAVAILABLE_SECONDS, initial_backoff=_FIRST_PAUSE_SECONDS)
        except ObjectPullError:
            raise BadMessageError("the server has withdrawn the message") from None
        try:
            check_expansion(contents, largest)
            message = inflate_object_from_contents(tree.object_id, contents)
        except Exception as error:  # whatever a server's bytes make Flower raise
            raise BadMessageError(f"the message is damaged ({type(error).__name__})") from None
        if not isinstance(message, Message):
            raise BadMessageError(f"the message is no message but a {type(message).__name__}")
        message.metadata.__dict__.update(metadata.__dict__)
        return message, bool(missing)

    def confirm(self, node_id: int, metadata: Metadata) -> None:
        """Tells the server that it need not keep the message's objects any longer."""
        request = ConfirmMessageReceivedRequest(
            node=Node(node_id=node_id), run_id=metadata.run_id, message_object_id=metadata.message_id
        )
        self._client.ConfirmMessageReceived(request)

    def push(self, node_id: int, reply: Reply, runtime: float) -> None:
        """Sends a reply: its envelope, with small objects where the server takes them so, then what it lacks.

        Sending the same reply again does no harm: the server knows it by its id.

        Args:
            node_id: this node.
            reply: what is sent.
            runtime: seconds it took to make.

        Raises:
            ValueError: the server did not take an object.
        """
        response = self._client.push(
            PushMessagesRequest(
                node=Node(node_id=node_id),
                messages_list=[message_to_proto(reply.envelope)],
                message_object_trees=[reply.tree],
                clientapp_runtime_list=[runtime],
            ),
            reply.contents,
        )
        run_id, session = reply.envelope.metadata.run_id, response.session_id

        patience = _Patience()

        def push(object_id: str, content: bytes) -> None:
            patience.check()
            request = PushObjectRequest(
                node=Node(node_id=node_id),
                run_id=run_id,
                object_id=object_id,
                object_content=content,
                session_id=session,
            )
            if not self._client.PushObject(request).stored:
                raise ValueError("the server did not store a part of the reply")

        # Each once, however often it is asked for; and of what it does not have nothing is kept.
        missing = dict.fromkeys(object_id for object_id in response.objects_to_push if object_id in reply.contents)
        push_object_contents_from_iterable(((object_id, reply.contents[object_id]) for object_id in missing), push)

    def close(self) -> None:
        """Closes the connections; the session at the server stays."""
        self._client.close()


@dataclass(frozen=True)
class Reply:
    """A reply as it is sent.

    Attributes:
        envelope: the message without its content, with its id.
        contents: the bytes of its objects by id.
        tree: the tree of its objects.
        is_refusal: whether all that it says is why the site does not do what was asked.
    """

    envelope: Message
    contents: dict[str, bytes]
    tree: ObjectTree
    is_refusal: bool = False

    @property
    def size(self) -> int:
        """Bytes of its contents."""
        return sum(map(len, self.contents.values()))

    @classmethod
    def of(cls, message: Message, *, is_refusal: bool = False) -> Reply:
        """Takes a message apart."""
        with no_object_id_recompute():
            message.metadata.__dict__["_message_id"] = message.object_id
            objects = get_all_nested_objects(message)
            contents = {object_id: value.deflate() for object_id, value in objects.items()}
            tree = get_object_tree(message)
        return cls(remove_content_from_message(message), contents, tree, is_refusal)

    @classmethod
    def to(cls, metadata: Metadata, content: RecordDict, *, is_refusal: bool = False) -> Reply:
        """A reply with `content` to the message that has this metadata."""
        asked = make_message(metadata=metadata, content=RecordDict())
        return cls.of(Message(content, reply_to=asked), is_refusal=is_refusal)


def metadata_to_bytes(metadata: Metadata) -> bytes:
    """A message's metadata for a file."""
    return bytes(metadata_to_proto(metadata).SerializeToString())


def metadata_from_bytes(content: bytes) -> Metadata:
    """Reads what `metadata_to_bytes` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        return metadata_from_proto(ProtoMetadata.FromString(content))
    except Exception as error:  # protobuf's own type of error, and Flower's for a bad message type
        raise ValueError("no metadata of a message") from error


class _Patience:
    """Seconds that one attempt at all of a message's objects may take."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + _OBJECTS_SECONDS

    def check(self) -> None:
        if time.monotonic() > self._ends:
            raise httpx.ReadTimeout("the message's parts take too long")


class _Budget:
    """Bytes that may still come, for several threads."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        with self._lock:
            self._left -= count
            if self._left < 0:
                raise BadMessageError("the message is larger than any order")
