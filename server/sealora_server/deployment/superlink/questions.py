"""Nodes' questions for messages: held until there is one, answered again as they were, and with the parts beside it.

Flower answers at once, hands each message out once, and has each part asked for by itself. If the network is cut, or a
front dies, between that and the site, nobody has the message, and the server waits for its answer until the stage's
deadline. A site of ours marks each question with a random id that stays the same until an answer has come (`PULL_ID`).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
)
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkState
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.superlink.servicer.fleet import fleet_handlers

from sealora_common.network.frames import chosen, to_frames
from sealora_server.deployment.superlink.known_runs import require_known

_REMEMBERED = 8


@dataclass(eq=False)
class _Node:
    """What one node was handed out."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    turn: int = 0
    pull_id: bytes = b""
    answer: bytes = b""
    handed_out: deque[tuple[str, frozenset[str]]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class Questions:
    """The questions of all nodes. Only of nodes that were authenticated, so that there are as many as are registered.

    What is kept lies in memory: a SuperLink that dies between claiming a message and sending it loses the message.

    Args:
        state: Flower's.
    """

    def __init__(self, state: LinkState) -> None:
        self._state = state
        self._nodes: defaultdict[int, _Node] = defaultdict(_Node)
        self._is_closed = False

    async def ask(
        self, node: int, request: PullMessagesRequest, *, pull_id: bytes = b"", wait: float = 0.0, parts: bool = False
    ) -> bytes:
        """The answer to a question, as the body of a response.

        Args:
            node: who asks.
            request: the question.
            pull_id: its mark; the last marked question is answered again as it was.
            wait: seconds for which it is held if there is nothing. A further question of the same node ends that.
            parts: whether small parts of the message come with it, in frames (`sealora_common.network.frames`).
        """
        of = self._nodes[node]
        of.turn += 1
        turn = of.turn
        of.arrived.set()
        async with of.lock:
            if pull_id and of.pull_id == pull_id:
                return of.answer
            until = time.monotonic() + wait
            while True:
                of.arrived.clear()
                response = await self._pull(request)
                left = until - time.monotonic()
                if response.messages_list or left <= 0 or of.turn != turn or self._is_closed:
                    break
                try:
                    await asyncio.wait_for(of.arrived.wait(), left)
                except TimeoutError:
                    continue
            answer = self._with_parts(of, response) if parts else response.SerializeToString()
            if not parts:
                self._hand_out(of, response)
            if pull_id:
                of.pull_id, of.answer = pull_id, answer
            return answer

    def wake(self, nodes: Iterable[int] | None = None) -> None:
        """Says that there is something for these nodes, or for any."""
        for node in self._nodes.values() if nodes is None else [self._nodes[each] for each in nodes]:
            node.arrived.set()

    def release(self, node: int) -> None:
        """Holds no question of this node any longer, for it says goodbye."""
        of = self._nodes[node]
        of.turn += 1
        of.arrived.set()

    def close(self) -> None:
        """Holds no question any longer."""
        self._is_closed = True
        self.wake()

    def part(self, node: int, request: PullObjectRequest) -> PullObjectResponse:
        """A part of a message that was handed out to this node.

        Raises:
            FlowerError: the run is over, or unknown.
        """
        of = self._nodes[node]
        # A node that was handed out nothing yet asks for what it was handed out before a restart.
        if of.handed_out and not any(request.object_id in parts for _, parts in of.handed_out):
            return PullObjectResponse(object_found=False, object_available=False)
        require_known(self._state, request.run_id)
        return fleet_handlers.pull_object(request, self._state)

    def confirm(self, node: int, request: ConfirmMessageReceivedRequest) -> ConfirmMessageReceivedResponse:
        """Deletes a message that was handed out to this node; it saves memory, and otherwise does nothing.

        Raises:
            FlowerError: the run is over, or unknown.
        """
        if any(request.message_object_id == message for message, _ in self._nodes[node].handed_out):
            require_known(self._state, request.run_id)
            return fleet_handlers.confirm_message_received(request, self._state, self._state.object_store)
        return ConfirmMessageReceivedResponse()

    async def _pull(self, request: PullMessagesRequest) -> PullMessagesResponse:
        if isinstance(self._state, InMemoryLinkState):
            return fleet_handlers.pull_messages(request, self._state, self._state.object_store)
        return await asyncio.to_thread(fleet_handlers.pull_messages, request, self._state, self._state.object_store)

    def _hand_out(self, of: _Node, response: PullMessagesResponse) -> None:
        for tree in response.message_object_trees:
            of.handed_out.append((tree.object_id, frozenset(ids_of(tree))))

    def _with_parts(self, of: _Node, response: PullMessagesResponse) -> bytes:
        frames = [response.SerializeToString()]
        for message, tree in zip(response.messages_list, response.message_object_trees, strict=True):
            ids = ids_of(tree)
            found = ((each, self._state.get_object(message.metadata.run_id, each) or b"") for each in ids)
            taken = chosen((each, content) for each, content in found if content)
            frames += [
                PullObjectResponse(object_found=True, object_available=True, object_content=content).SerializeToString()
                for content in taken.values()
            ]
            if len(taken) == len(ids):
                self._state.object_store.delete(tree.object_id)  # the answer has all of it, and is kept
        self._hand_out(of, response)
        return to_frames(frames)


def ids_of(tree: ObjectTree) -> list[str]:
    """The parts of a message, each once, in the order in which they are made."""
    return list(dict.fromkeys(part.object_id for part in iterate_object_tree(tree)))
