"""Flower's grid over the SuperLink's Unix socket: many messages at once, and no site's answer holds up another's.

Flower's own grid, once told of an answer, waits for all of its parts, for minutes if they do not come, and looks at
no other answer meanwhile. A site that dies while it sends would stall a round so. Here an answer that is not whole
yet is asked for again at the next poll, and whoever polls decides how long.

Small parts travel with their message (`superlink.app_messages`), so that a stage with sixteen sites takes a few
requests; large ones, and what is missing, are asked for by themselves, as Flower does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
from flwr.app import Error, Message
from flwr.app.message import make_message, remove_content_from_message
from flwr.app.message.arraychunk import ArrayChunk
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
)
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.runtime_pb2 import (
    PullAppMessagesRequest,
    PullAppMessagesResponse,
    PushAppMessagesRequest,
    PushAppMessagesResponse,
)
from flwr.supercore.constant import TASK_TOKEN_HEADER
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_push_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents, push_objects
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.retry import exponential
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.superlink.grid import HttpGrid
from google.protobuf.message import Message as Proto  # type: ignore[import-untyped]

from sealora_common.network.frames import FRAMES, WAIT, chosen, from_frames, to_frames
from sealora_server.deployment.superlink import app_messages
from sealora_server.deployment.superlink.client import connected
from sealora_server.deployment.superlink.questions import ids_of
from sealora_server.node_keys import NodeSession

log = logging.getLogger(__name__)

HELD_SECONDS = 1
"""For so long the SuperLink holds a question to which there is no answer yet."""
_LONGEST_RETRY_SECONDS = 2


class SocketGrid(HttpGrid):
    """Flower's grid over the Unix socket at `socket`, with the token of the run's task.

    Args:
        socket: of the SuperLink.
        token: of the task.
        longest_outage: seconds after which a SuperLink that does not answer is given up: longer than one takes to come
            back; a ServerApp that waits longer is better started anew.
        parts_at_once: of one answer are fetched before the others are looked at. A vector comes in pieces of 5 MB; an
            answer of ten thousand crumbs must not hold up the others.
    """

    def __init__(self, socket: Path, token: str, *, longest_outage: float = 120.0, parts_at_once: int = 100) -> None:
        super().__init__(token=token)
        self._socket = socket
        self._parts_at_once = parts_at_once
        self._retry_invoker.wait_gen_factory = lambda: exponential(base_delay=0.1, max_delay=_LONGEST_RETRY_SECONDS)
        self._retry_invoker.max_time = longest_outage
        self._arriving: dict[str, _Arriving] = {}
        self._chunks: set[str] = set()

    @property
    def client(self) -> RuntimeHttpClient:
        """Flower's client of the Runtime API."""
        return self._runtime_client

    def node_sessions(self) -> Mapping[int, NodeSession]:
        """The connected nodes, by number."""
        return {info.node_id: NodeSession(info.public_key, info.last_activated_at) for info in self.get_nodes()}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Sends messages; answers to earlier ones that have not come whole are no longer waited for."""
        self._arriving.clear()
        return super().push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The answers to these messages that are here whole, or that will never be.

        Waits up to `HELD_SECONDS` for one if there is none.
        """
        asked = set(message_ids) - set(self._arriving)
        if asked:
            request = PullAppMessagesRequest(message_ids=asked)
            wait = 0 if self._arriving else HELD_SECONDS
            first, *parts = self._framed(app_messages.PULL, [request], wait=wait)
            found = PullAppMessagesResponse.FromString(first)
            contents = [PullObjectResponse.FromString(part).object_content for part in parts]
            here = {get_object_id(content): content for content in contents}
            for envelope, tree in zip(found.messages_list, found.message_object_trees, strict=True):
                came = {name: here[name] for name in ids_of(tree) if name in here}
                self._arriving[envelope.metadata.reply_to_message_id] = _Arriving(envelope, tree, came)
        answers = {asked_id: self._answer(arriving) for asked_id, arriving in self._arriving.items()}
        whole = {asked_id: answer for asked_id, answer in answers.items() if answer is not None}
        for asked_id in whole:
            del self._arriving[asked_id]
        return list(whole.values())

    def _try_push_messages(self, run_id: int, messages: Iterable[Message]) -> list[str]:
        envelopes, trees = [], []
        objects: dict[str, InflatableObject] = {}
        for message in messages:
            envelopes.append(message_to_proto(remove_content_from_message(message)))
            objects |= get_all_nested_objects(message)
            trees.append(get_object_tree(message))
        # An adapter is the same for all sites, and there already after the first few; what is not is told missing.
        new = {name: each for name, each in objects.items() if name not in self._chunks}
        self._chunks = {name for name, each in objects.items() if isinstance(each, ArrayChunk)}
        small = chosen(
            ((name, each.deflate()) for name, each in new.items()),
            largest=app_messages.LARGEST_PART,
            room=app_messages.PARTS_ROOM,
        )
        parts = [PushObjectRequest(run_id=run_id, object_id=name, object_content=part) for name, part in small.items()]
        request = PushAppMessagesRequest(messages_list=envelopes, message_object_trees=trees)
        stored = PushAppMessagesResponse.FromString(self._framed(app_messages.PUSH, [request, *parts])[0])
        push_objects(
            objects,
            push_object_fn=make_push_object_fn_protobuf(
                push_object_protobuf=self.client.PushObject,
                node=self.node,
                run_id=run_id,
                session_id=stored.session_id,
            ),
            object_ids_to_push=set(stored.objects_to_push),
        )
        return list(stored.message_ids)

    def _framed(self, path: str, frames: Sequence[Proto], wait: int = 0) -> list[bytes]:
        """Asks one of the SuperLink's paths for many messages; again while it is away.

        Raises:
            httpx.HTTPError: it refused, or did not come back.
        """
        headers = {"content-type": FRAMES, WAIT: str(wait), TASK_TOKEN_HEADER: self._token}
        body = to_frames(frame.SerializeToString() for frame in frames)

        def send() -> httpx.Response:
            response = self.client._client.post(f"http://superlink{path}", content=body, headers=headers)
            return response.raise_for_status()

        return from_frames(self._retry_invoker.invoke(send).content)

    def _answer(self, arriving: _Arriving) -> Message | None:
        run_id = self.run.run_id
        metadata = message_from_proto(arriving.envelope).metadata
        came_whole = not arriving.missing  # then the SuperLink has let go of it
        try:
            for part in arriving.missing[: self._parts_at_once]:
                got = self.client.PullObject(PullObjectRequest(node=self.node, run_id=run_id, object_id=part))
                if not got.object_found:
                    raise LookupError("a part of the answer is gone")
                if not got.object_available:
                    return None
                arriving.parts[part] = got.object_content
            if arriving.missing:
                return None
            answer = cast(Message, inflate_object_from_contents(metadata.message_id, arriving.parts))
            # What the SuperLink has checked, not what the sender wrote into the answer itself.
            answer.metadata.__dict__.update(metadata.__dict__)
        except httpx.HTTPError:
            raise
        except Exception as error:  # a site sends what it likes, and Flower's parser raises what it likes
            log.warning("an answer could not be read: %s", type(error).__name__)
            refusal = Error(ErrorCode.MESSAGE_UNAVAILABLE, "the answer came in pieces that do not make a message")
            answer = make_message(metadata, error=refusal)
        if not came_whole:
            self.client.ConfirmMessageReceived(
                ConfirmMessageReceivedRequest(node=self.node, run_id=run_id, message_object_id=metadata.message_id)
            )
        return answer

    def _connect(self) -> None:
        version = RuntimeVersionHttpInterceptor(component_name="flwr-serverapp")
        token = RuntimeTokenHttpInterceptor(token=self._token)
        self._client = connected(RuntimeHttpClient, self._socket, [version, token], retry_invoker=self._retry_invoker)


@dataclass
class _Arriving:
    """An answer that the SuperLink knows of, and the parts of it that are here."""

    envelope: MessageProto
    tree: ObjectTree
    parts: dict[str, bytes] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        return [name for name in ids_of(self.tree) if name not in self.parts]
