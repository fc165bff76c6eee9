"""How the Fleet calls travel: over HTTP, signed, marked, bounded, and in frames where the server speaks them."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Mapping

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.proto.fleet_pb2 import (
    DeactivateNodeRequest,
    DeactivateNodeResponse,
    PullMessagesRequest,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.message_pb2 import (
    PushObjectRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from sealora_common.network.bounded_http import AnswerBounds, BoundedClient
from sealora_common.network.frames import FRAMES, WAIT, chosen, from_frames, to_frames
from sealora_common.network.proxy import Proxy
from sealora_common.round.wire_format import PULL_ID

LARGEST_RESPONSE = 256 << 20
"""Bytes of one response's body. Flower sends arrays in pieces of 5 MB; a record of configuration comes whole."""
_CONNECT_SECONDS = 10.0
# Longer than a network may be cut: TCP then delivers the answer late. An answer given up is a message lost, since
# Flower hands each out once.
_READ_SECONDS = 60.0
_GOODBYE_SECONDS = 5.0
# Of a whole exchange, from connecting to the last byte.
_WORDS_SECONDS = 90.0
_OBJECT_SECONDS = 600.0
_LARGEST_WORDS = 1 << 20
_LARGEST_LIST = 8 << 20


def bounds_of(request: httpx.Request) -> AnswerBounds:
    """What an exchange of the Fleet API may take: long where content goes across, short where words do."""
    action = request.url.path.rpartition("/")[2]
    if action in ("pull-object", "push-object"):
        return AnswerBounds(_OBJECT_SECONDS, LARGEST_RESPONSE)
    if action in ("pull-messages", "push-messages"):
        return AnswerBounds(_WORDS_SECONDS, _LARGEST_LIST)
    return AnswerBounds(_GOODBYE_SECONDS if action == "deactivate-node" else _WORDS_SECONDS, _LARGEST_WORDS)


class FleetTransport(FleetHttpClient):
    """Flower's client over an HTTP client whose every exchange is bounded, in time and in size.

    Args:
        url: `https://host:port` of the server's front.
        key: the node's P-384 key, which signs each request.
        tls: the context that checks the server's certificate; None for plain HTTP.
        bounds: of each exchange.
        proxy: that leads to the server.
    """

    def __init__(
        self,
        url: str,
        key: EllipticCurvePrivateKey,
        tls: ssl.SSLContext | None,
        bounds: Callable[[httpx.Request], AnswerBounds],
        proxy: Proxy | None = None,
    ) -> None:
        self.pull_mark = _PullMark()
        self._speaks_frames = False
        authentication = NodeAuthHttpInterceptor(key, key.public_key())
        # What Flower's own constructor sets, but for its HTTP client, which reads the environment's proxies.
        self._base_url = url.rstrip("/")
        self._interceptors = (_VersionHeaders(), self.pull_mark, authentication)
        self._retry_invoker = None
        self._client = BoundedClient(
            bounds,
            verify=tls if tls is not None else True,
            proxy=proxy,
            timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
        )

    def pull(self, request: PullMessagesRequest, wait: int) -> list[bytes]:
        """Asks for a message; the answer, and the objects beside it where the server sends them so."""
        headers = {"content-type": PROTOBUF_MEDIA_TYPE, "accept": f"{FRAMES}, {PROTOBUF_MEDIA_TYPE}", WAIT: str(wait)}
        response = self._post("PullMessages", "pull-messages", request.SerializeToString(), headers)
        self._speaks_frames = response.headers.get("content-type") == FRAMES
        return (from_frames(response.content) if self._speaks_frames else [response.content]) or [b""]

    def push(self, request: PushMessagesRequest, contents: Mapping[str, bytes]) -> PushMessagesResponse:
        """Announces a reply, and sends small objects along to a server that has shown that it takes them.

        Whatever comes in the way, the next attempt is as Flower's: the server may be another one since it spoke frames.
        """
        if not self._speaks_frames:
            return self.PushMessages(request)
        self._speaks_frames = False
        small = chosen(contents.items()).items()
        parts = [PushObjectRequest(node=request.node, object_id=name, object_content=part) for name, part in small]
        body = to_frames([request.SerializeToString(), *(part.SerializeToString() for part in parts)])
        headers = {"content-type": FRAMES, "accept": PROTOBUF_MEDIA_TYPE}
        response = self._post("PushMessages", "push-messages", body, headers)
        answer: PushMessagesResponse = PushMessagesResponse.FromString(response.content)
        self._speaks_frames = True
        return answer

    def _post(self, method: str, action: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        request = self._client.build_request(
            "POST", f"{self._base_url}/v1/fleet/{action}", content=body, headers=headers
        )
        # Of the message itself nothing that stands in between makes use.
        context = ProtobufRequestContext(f"/flwr.proto.Fleet/{method}", Node(), request)
        return self._send(context).raise_for_status()

    def DeactivateNode(self, request: DeactivateNodeRequest) -> DeactivateNodeResponse:  # noqa: N802 (Flower's name)
        """As Flower's, but whoever says goodbye does not wait long for an answer."""
        return self._unary_unary(
            path="/v1/fleet/deactivate-node",
            rpc_method="/flwr.proto.Fleet/DeactivateNode",
            request=request,
            response_type=DeactivateNodeResponse,
            timeout=_GOODBYE_SECONDS,
        )


class _VersionHeaders:
    """Says which Flower this is, as a SuperNode does; Flower's own interceptor may end the process."""

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Adds the headers."""
        context.request.headers.update(dict(RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata()))
        return call_next(context)


class _PullMark:
    """Marks the question for messages, with the same id until it is renewed."""

    def __init__(self) -> None:
        self._id = secrets.token_hex(16)

    def renew(self) -> None:
        self._id = secrets.token_hex(16)

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Adds the header."""
        if context.rpc_method.endswith("/PullMessages"):
            context.request.headers[PULL_ID] = self._id
        return call_next(context)
