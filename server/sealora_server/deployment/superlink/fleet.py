"""Flower's Fleet API as sites reach it: Flower's own handlers and state behind a gate of ours, in plain ASGI.

Flower stacks eight middlewares over its handlers, each with a task group for every request: three quarters of its time.
And it reads, locks and keeps before it knows who asks. Here a request is

1. authenticated by its headers, and its signed time counted (`node_auth`);
2. counted against what its node may have (`quotas`);
3. read whole, within a size and a time (`bodies`);
4. bound: who it says it is, whom it answers, whose parts it names (`replies`, `questions`);
5. handled by Flower.

`tests/server/deployment/superlink/test_fleet_contract.py` holds the answers to those of Flower's own stack.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    PushMessagesResponse,
    RegisterNodeFleetRequest,
    UnregisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest, PushObjectRequest
from flwr.proto.run_pb2 import GetRunRequest
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkState
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.servicer.fleet import fleet_handlers
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.protobuf.message import Message as Proto
from starlette.types import Receive, Scope, Send

from sealora_common.network.frames import FRAMES, LONGEST_WAIT_SECONDS, PARTS_BYTES, WAIT, from_frames
from sealora_common.round.wire_format import PULL_ID
from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.refused_nodes import RefusedNodes
from sealora_server.deployment.superlink.answers import (
    Coming,
    answer_empty,
    answer_error,
    answer_with,
    lingering,
)
from sealora_server.deployment.superlink.bodies import (
    SMALL_BYTES,
    BodyTooLargeError,
    BodyTooSlowError,
    ClientGoneError,
    most_bytes,
    read_body,
)
from sealora_server.deployment.superlink.node_auth import (
    LONGEST_SECONDS,
    NodeAuthentication,
    UnauthenticatedError,
    UnknownKeyError,
)
from sealora_server.deployment.superlink.paths import PREFIX
from sealora_server.deployment.superlink.questions import Questions
from sealora_server.deployment.superlink.quotas import OverQuotaError, Quotas
from sealora_server.deployment.superlink.replies import AnswerTooLargeError, NotYoursError, Replies

Request = TypeVar("Request", bound=Proto)

# An envelope, ten thousand names of parts, and the parts that come with it.
_MESSAGE_BYTES = 2 * PARTS_BYTES
_FRAMED = ("pull-messages", "push-messages")
# Hashing more than this in the event loop would hold up the other sites.
_INLINE_BYTES = 1 << 18


@dataclass(frozen=True)
class _Asked:
    """A request whose sender is known."""

    node: int
    key: bytes
    headers: dict[bytes, bytes]

    @property
    def in_frames(self) -> bool:
        return self._media_type(b"content-type") == FRAMES

    @property
    def takes_frames(self) -> bool:
        return FRAMES in self.headers.get(b"accept", b"").decode("latin-1")

    @property
    def wait(self) -> float:
        given = self.headers.get(WAIT.encode(), b"0")
        return float(min(int(given), LONGEST_WAIT_SECONDS)) if given.isdigit() and len(given) < 4 else 0.0

    def require_media_type(self, action: str) -> None:
        """As Flower does; and frames are taken only where there are any: elsewhere bodies may be larger by far."""
        framed = self.in_frames and action in _FRAMED
        if not framed and self._media_type(b"content-type") != PROTOBUF_MEDIA_TYPE:
            raise FlowerError(ApiErrorCode.UNSUPPORTED_CONTENT_TYPE, "Unsupported Content-Type")

    def _media_type(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1").partition(";")[0].strip().lower()


class Fleet:
    """The Fleet API, an ASGI application.

    Args:
        state: Flower's.
        limits: of the server.
        replied: called with a run's number whenever a part of an answer in it has come.
    """

    def __init__(self, state: LinkState, limits: LimitsSection, replied: Callable[[int], None]) -> None:
        self._state = state
        self._limits = limits
        self._replied = replied
        self._is_quick = isinstance(state, InMemoryLinkState)
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        # As many requests as a node may make in all that time.
        most = limits.node_request_burst + math.ceil(limits.node_requests_per_second * LONGEST_SECONDS)
        self._auth = NodeAuthentication(state.get_node_id_by_public_key, most)
        self._refused = RefusedNodes()
        self.quotas = Quotas(limits, lambda: len(state.get_node_info()))
        self.questions = Questions(state)
        self.replies = Replies(state, self.quotas, limits.answer_bytes)
        own, flower = self, fleet_handlers
        self._calls: dict[type[Proto], Callable[[int, Proto], Proto]] = {
            ActivateNodeRequest: own._activated,
            ConfirmMessageReceivedRequest: own.questions.confirm,
            DeactivateNodeRequest: lambda _, request: flower.deactivate_node(request, state),
            GetFabRequest: lambda _, request: flower.get_fab(request, state),
            GetRunRequest: lambda _, request: flower.get_run(request, state),
            PullObjectRequest: own.questions.part,
            PushObjectRequest: own.replies.add,
            RegisterNodeFleetRequest: lambda _, request: flower.register_node(
                request, state, enable_supernode_auth=True
            ),
            SendNodeHeartbeatRequest: lambda _, request: flower.send_node_heartbeat(request, state),
            UnregisterNodeFleetRequest: lambda _, request: flower.unregister_node(
                request, state, enable_supernode_auth=True
            ),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        action = path.removeprefix(PREFIX)
        coming = Coming(receive)
        try:
            try:
                node, key = self._auth.node(scope["headers"])
                asked = _Asked(node, key, {name.lower(): value for name, value in scope["headers"]})
                with self.quotas.request(node):
                    body = await self._handled(action, asked, coming)
            except Exception as error:
                self._tell_of(action, error)
                _refuse(action, error)
            in_frames = action == "pull-messages" and asked.takes_frames
            await answer_with(send, body, FRAMES if in_frames else PROTOBUF_MEDIA_TYPE)
        except ClientGoneError:
            return
        except _RefusedError as refused:
            await answer_empty(lingering(coming, send), refused.status)
        except Exception as error:
            await answer_error(scope, lingering(coming, send), error)

    async def _handled(self, action: str, asked: _Asked, receive: Receive) -> bytes:
        asked.require_media_type(action)
        try:
            most = most_bytes(asked.headers.items(), self._largest(action))
            with self.quotas.arriving(asked.node, most):
                body = await read_body(receive, most, self._limits.body_seconds)
                first, *parts = _frames(body) if asked.in_frames else [body]
                request = _parsed(PROTOBUF_REQUEST_TYPES["POST", PREFIX + action], first)
                _bind(asked, request)
                if isinstance(request, PullMessagesRequest):
                    mark = asked.headers.get(PULL_ID.encode(), b"")[:64]
                    return await self.questions.ask(
                        asked.node, request, pull_id=mark, wait=asked.wait, parts=asked.takes_frames
                    )
                own = [_parsed(PushObjectRequest, part) for part in parts]
                if self._is_quick and len(body) <= _INLINE_BYTES:
                    answer = self._answered(asked.node, request, own)
                else:
                    async with self._locks[asked.node]:
                        answer = await asyncio.to_thread(self._answered, asked.node, request, own)
                self._tell(request)
        except OverQuotaError:
            self.replies.forget_ended()
            raise
        return bytes(answer.SerializeToString())

    def _answered(self, node: int, request: Proto, parts: list[PushObjectRequest]) -> Proto:
        if isinstance(request, PushMessagesRequest):
            return self._pushed(node, request, parts)
        return self._calls[type(request)](node, request)

    def _pushed(self, node: int, request: PushMessagesRequest, parts: list[PushObjectRequest]) -> PushMessagesResponse:
        response = self.replies.begin(node, request)
        run = request.messages_list[0].metadata.run_id
        missing = dict.fromkeys(response.objects_to_push)
        for part in parts:
            if part.object_id in missing:
                part.run_id, part.session_id = run, response.session_id
                if self.replies.add(node, part).stored:
                    del missing[part.object_id]
        del response.objects_to_push[:]
        response.objects_to_push.extend(missing)
        return response

    def _tell_of(self, action: str, error: Exception) -> None:
        if action == "activate-node" and isinstance(error, UnknownKeyError):
            self._refused.unknown(error.key)

    def _activated(self, node: int, request: Proto) -> Proto:
        try:
            return fleet_handlers.activate_node(request, self._state)
        except FlowerError as error:
            if error.code == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED:
                for found in self._state.get_node_info(node_ids=[node]):
                    self._refused.busy(found.name, found.last_activated_at)
            raise

    def _tell(self, request: Proto) -> None:
        if isinstance(request, PushObjectRequest):
            self._replied(request.run_id)
        elif isinstance(request, DeactivateNodeRequest):
            self.questions.release(request.node_id)
        elif isinstance(request, PushMessagesRequest):
            self._replied(request.messages_list[0].metadata.run_id)

    def _largest(self, action: str) -> int:
        if action == "push-object":
            return self._limits.body_bytes
        return _MESSAGE_BYTES if action == "push-messages" else SMALL_BYTES


class _RefusedError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


_STATUSES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int], ...] = (
    (UnauthenticatedError, 401),
    (OverQuotaError, 503),  # Flower's clients and ours take it for "later"
    ((BodyTooLargeError, AnswerTooLargeError), 413),
    (BodyTooSlowError, 408),
    (NotYoursError, 403),
)


def _refuse(action: str, error: Exception) -> NoReturn:
    if isinstance(error, UnknownKeyError) and action == "activate-node":
        # What Flower says; a site is told to have its card taken into the roster.
        raise FlowerError(ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED, "a key that is not registered") from None
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            raise _RefusedError(status) from None
    raise error


def _frames(body: bytes) -> Iterator[bytes]:
    try:
        frames = from_frames(body)
    except ValueError as error:
        raise FlowerError(ApiErrorCode.INVALID_PROTOBUF_PAYLOAD, str(error)) from None
    return iter(frames or [b""])


def _parsed(kind: type[Request], body: bytes) -> Request:
    try:
        request: Request = kind.FromString(body)
    except DecodeError:
        raise FlowerError(ApiErrorCode.INVALID_PROTOBUF_PAYLOAD, "Invalid protobuf payload") from None
    return request


def _bind(asked: _Asked, request: Proto) -> None:
    """Refuses a request that names another node than the one that signed it."""
    if isinstance(request, ActivateNodeRequest | RegisterNodeFleetRequest):
        named = request.public_key == asked.key
    elif isinstance(request, DeactivateNodeRequest | UnregisterNodeFleetRequest):
        named = request.node_id == asked.node
    else:
        named = request.node.node_id == asked.node
    if not named:
        raise UnauthenticatedError
