"""How a run's ServerApp sends orders and fetches answers: Flower's Runtime API, many messages and their parts at once.

Flower has each part of each message pushed and pulled by itself: with 16 sites a hundred requests a stage, each through
eight middlewares. On the trusted socket two paths of ours call the same handlers, once:

    push    a PushAppMessagesRequest, then a PushObjectRequest for each part; the answer names what is missing still
    pull    a PullAppMessagesRequest; held until an answer has come; then the PullAppMessagesResponse, and a
            PullObjectResponse for each part that is there
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PullAppMessagesRequest, PullAppMessagesResponse, PushAppMessagesRequest
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkState
from flwr.supercore.dependencies.task import authenticate_task
from flwr.superlink.servicer.runtime import runtime_handlers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from sealora_common.network.frames import FRAMES, LONGEST_WAIT_SECONDS, WAIT, chosen, from_frames, to_frames
from sealora_server.deployment.superlink.answers import answer_error, answer_with
from sealora_server.deployment.superlink.questions import ids_of

PUSH = "/sealora/app/push-messages"
PULL = "/sealora/app/pull-messages"
LARGEST_PART = 8 << 20
"""Bytes. Between processes of one machine all but the largest parts travel with their messages."""
PARTS_ROOM = 32 << 20
"""Bytes of the parts in one request or answer."""


class AppMessages:
    """The two paths, an ASGI application.

    Args:
        state: Flower's.
        make_way: called with what a message is made of before it is stored: no answer may say otherwise.
        sent: called with the numbers of the nodes that messages were stored for.
    """

    def __init__(
        self, state: LinkState, make_way: Callable[[ObjectTree], bool], sent: Callable[[Iterable[int]], None]
    ) -> None:
        self._state = state
        self._make_way = make_way
        self._sent = sent
        self._replied: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._is_closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            task = authenticate_task(request, request.headers.get("flwr-task-token"), self._state)
            frames = from_frames(await request.body())
            if scope["path"] == PUSH:
                body = await self._push(task, frames)
            else:
                body = await self._pull(task, frames[0], float(request.headers.get(WAIT, "0")))
            await answer_with(send, body, FRAMES)
        except Exception as error:
            await answer_error(scope, send, error)

    def replied(self, run: int) -> None:
        """Says that a part of an answer in this run has come."""
        if run in self._replied:
            self._replied[run].set()

    def close(self) -> None:
        """Holds no question any longer."""
        self._is_closed = True
        for event in self._replied.values():
            event.set()

    async def _push(self, task: Task, frames: list[bytes]) -> bytes:
        request = PushAppMessagesRequest.FromString(frames[0])
        parts = [PushObjectRequest.FromString(frame) for frame in frames[1:]]

        def store() -> bytes:
            for tree in request.message_object_trees:
                self._make_way(tree)
            response = runtime_handlers.push_messages(request, self._state, task)
            missing = dict.fromkeys(response.objects_to_push)
            for part in parts:
                if part.object_id in missing:
                    part.node.CopyFrom(Node(node_id=SUPERLINK_NODE_ID))
                    part.session_id = response.session_id
                    if runtime_handlers.push_object(part, self._state, task).stored:
                        del missing[part.object_id]
            del response.objects_to_push[:]
            response.objects_to_push.extend(missing)
            return bytes(response.SerializeToString())

        stored = store() if isinstance(self._state, InMemoryLinkState) else await asyncio.to_thread(store)
        self._sent({message.metadata.dst_node_id for message in request.messages_list})
        return to_frames([stored])

    async def _pull(self, task: Task, asked: bytes, wait: float) -> bytes:
        request = PullAppMessagesRequest.FromString(asked)
        until = time.monotonic() + min(wait, LONGEST_WAIT_SECONDS)
        replied = self._replied[task.run_id]
        while True:
            replied.clear()
            response = await self._pulled(request, task)
            left = until - time.monotonic()
            if response.messages_list or left <= 0 or self._is_closed:
                break
            try:
                await asyncio.wait_for(replied.wait(), left)
            except TimeoutError:
                continue
        if self._is_over(task.run_id):
            self._replied.pop(task.run_id, None)  # of two questions that were held, the other did it
        return to_frames([response.SerializeToString(), *self._parts(response, task.run_id)])

    async def _pulled(self, request: PullAppMessagesRequest, task: Task) -> PullAppMessagesResponse:
        if isinstance(self._state, InMemoryLinkState):
            return runtime_handlers.pull_messages(request, self._state, task)
        return await asyncio.to_thread(runtime_handlers.pull_messages, request, self._state, task)

    def _parts(self, response: PullAppMessagesResponse, run: int) -> list[bytes]:
        ids = dict.fromkeys(each for tree in response.message_object_trees for each in ids_of(tree))
        found = ((each, self._state.get_object(run, each) or b"") for each in ids)
        taken = chosen(((each, content) for each, content in found if content), largest=LARGEST_PART, room=PARTS_ROOM)
        for tree in response.message_object_trees:
            if all(each in taken for each in ids_of(tree)):
                self._state.object_store.delete(tree.object_id)  # a ServerApp that dies now begins its round anew
        return [
            PullObjectResponse(object_found=True, object_available=True, object_content=content).SerializeToString()
            for content in taken.values()
        ]

    def _is_over(self, run: int) -> bool:
        return all(found.finished_at for found in self._state.get_run_info(run_ids=[run]))
