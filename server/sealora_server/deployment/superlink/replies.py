"""What nodes answer: bound to the node that was asked, one answer at a time, within a size.

Flower's SuperLink takes an answer in any node's name, takes what answers nothing for an order to another node, keeps as
many parts as an answer announces, and forgets none until the run ends.
"""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from flwr.app import Message, Metadata
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest, PushObjectResponse
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.inflatable.inflatable_object import get_object_id
from flwr.superlink.servicer.fleet import fleet_handlers

from sealora_server.deployment.superlink.known_runs import require_known
from sealora_server.deployment.superlink.quotas import Quotas
from sealora_server.deployment.superlink.trees import Parts, contradicted, is_made_of, parts_of

PART_OVERHEAD = 1024
"""Bytes that Flower needs for the name of a part, or a little fewer; they count as the answer's."""
_LONGEST_RUNTIME = 1e9


class NotYoursError(Exception):
    """A request is well signed, but nothing that this node may ask."""


class AnswerTooLargeError(Exception):
    """A node's answer is larger than the server takes."""


@dataclass
class _Reply:
    """A node's latest answer in a run."""

    message_id: str
    answers: str
    session: str
    parts: Parts
    missing: set[str]


class Replies:
    """The answers that nodes are sending.

    Args:
        state: Flower's.
        quotas: told of what is kept.
        most_bytes: of one answer, its envelope and `PART_OVERHEAD` for each part included.
    """

    def __init__(self, state: LinkState, quotas: Quotas, most_bytes: int) -> None:
        self._state = state
        self._quotas = quotas
        self._most = most_bytes
        self._latest: dict[tuple[int, int], _Reply] = {}
        self._lock = threading.Lock()  # no two at once find that a part is not there yet

    def begin(self, node: int, request: PushMessagesRequest) -> PushMessagesResponse:
        """Takes the envelope of an answer; says which parts are missing. It may come again.

        What the node answered before in the same run is dropped if the server did not fetch it: it has asked for
        something else since, and waits for that no more.

        Raises:
            NotYoursError: it is no answer, or not this node's.
            AnswerTooLargeError: what is there of it already is larger than the server takes.
            OverQuotaError: there is no room for it.
            FlowerError: the run is over, or unknown.
        """
        message, parts = _of_node(node, request)
        require_known(self._state, message.metadata.run_id)
        with self._lock:
            return self._begin(node, request, message.metadata, parts)

    def make_way(self, tree: ObjectTree) -> bool:
        """Drops answers that are not whole and say of a part of this tree that it is made of something else.

        What is whole is true: `add` compares. A member may guess a part of another's greeting, or of the first adapter,
        and would spoil these by a lie about it.

        Returns:
            False if something that is whole contradicts the tree.
        """
        with self._lock:
            return self._made_way(tree)

    def _made_way(self, tree: ObjectTree) -> bool:
        while True:
            names = contradicted(tree, self._state.object_store)
            liars = [key for key, reply in list(self._latest.items()) if names & reply.missing]
            if not liars:
                return not names
            for liar in liars:
                self._take_back(*liar)

    def _begin(self, node: int, request: PushMessagesRequest, metadata: Metadata, parts: Parts) -> PushMessagesResponse:
        run, answers = metadata.run_id, metadata.reply_to_message_id
        former = self._latest.get((node, run))
        if former is not None and former.answers != answers:
            self.drop(node, run)
        elif former is not None and former.missing and former.parts != parts:
            self._take_back(node, run)
        tree = request.message_object_trees[0]
        if not self._made_way(tree):
            raise NotYoursError
        witness = _Witness(self._state)
        response = fleet_handlers.push_messages(request, cast(LinkState, witness))
        if not witness.stored:
            self._end_session(response.session_id)
            latest = self._latest.get((node, run))
            if latest is not None and latest.message_id == tree.object_id and latest.missing:
                # The server knows of it and waits for the rest; of a site that was cut off then, that comes now.
                return PushMessagesResponse(session_id=latest.session, objects_to_push=sorted(latest.missing))
            return response
        if (node, run) in self._latest:
            self._end_session(self._latest[node, run].session)
        missing = set(response.objects_to_push)
        self._latest[node, run] = _Reply(tree.object_id, answers, response.session_id, parts, missing)
        self._charge(node, run, request.ByteSize() + self._bytes_of(set(parts), missing))
        return response

    def add(self, node: int, request: PushObjectRequest) -> PushObjectResponse:
        """Takes a part of this node's latest answer in its run, and no other.

        Raises:
            NotYoursError: it is made of something else than the node has said.
            AnswerTooLargeError: the answer is larger than the server takes.
            FlowerError: the run is over.
        """
        reply = self._latest.get((node, request.run_id))
        if reply is None or not request.session_id or reply.session != request.session_id:
            return PushObjectResponse(stored=False)
        size = len(request.object_content)
        if self._quotas.kept(node, request.run_id) + size > self._most:
            raise AnswerTooLargeError
        name, content = request.object_id, request.object_content
        if name in reply.missing and get_object_id(content) == name and not is_made_of(content, reply.parts[name]):
            self._take_back(node, request.run_id)
            raise NotYoursError
        response = fleet_handlers.push_object(request, self._state)
        if response.stored:
            self._arrived(name, size)
        return response

    def forget_ended(self) -> None:
        """Forgets answers in runs that are over, which Flower has deleted, and those that the server has fetched."""
        latest = list(self._latest.items())
        runs = {run for (_, run), _ in latest}
        going_on = {run.run_id for run in self._state.get_run_info(run_ids=list(runs)) if not run.finished_at}
        for (node, run), reply in latest:
            if run not in going_on:
                self._latest.pop((node, run), None)
                self._quotas.drop(node, run)
            elif reply.message_id not in self._state.object_store:
                self._quotas.drop(node, run)

    def drop(self, node: int, run: int) -> None:
        """Drops the node's latest answer in a run with the order that it answers; nothing is kept of it any longer."""
        self._quotas.drop(node, run)
        reply = self._latest.pop((node, run), None)
        if reply is not None:
            self._state.delete_messages({reply.answers})
            self._state.object_store.delete(reply.message_id)
            self._end_session(reply.session)

    def _take_back(self, node: int, run: int) -> None:
        """Drops an answer that is not whole; its order may be answered still."""
        self._quotas.drop(node, run)
        reply = self._latest.pop((node, run), None)
        if reply is not None:
            self._state._cleanup_push_session(reply.session, cleanup_messages=True)

    def _end_session(self, session: str) -> None:
        """Flower's list of what is awaited would stay until the run ends."""
        self._state._cleanup_push_session(session, cleanup_messages=False)

    def _charge(self, node: int, run: int, size: int) -> None:
        self._quotas.drop(node, run)
        try:
            if size > self._most:
                raise AnswerTooLargeError
            self._quotas.require_room(node, size)
        except Exception:
            self.drop(node, run)
            raise
        self._quotas.keep(node, run, size)

    def _arrived(self, part: str, size: int) -> None:
        """Charges a part to every answer that has it: each of them keeps it, also when another is dropped."""
        for (node, run), reply in list(self._latest.items()):
            if part in reply.missing:
                reply.missing.discard(part)
                self._quotas.keep(node, run, size)

    def _bytes_of(self, parts: set[str], missing: set[str]) -> int:
        store = self._state.object_store
        return PART_OVERHEAD * len(parts) + sum(len(store.get(part) or b"") for part in parts - missing)


class _Witness:
    """Flower's state, which notes whether an answer was stored: Flower answers the same if it was not."""

    def __init__(self, state: LinkState) -> None:
        self._state = state
        self.stored = False

    def store_message_and_object_tree(
        self, message: Message, object_tree: ObjectTree, session_id: str
    ) -> tuple[bool, list[str]]:
        self.stored, missing = self._state.store_message_and_object_tree(message, object_tree, session_id)
        return self.stored, missing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)


def _of_node(node: int, request: PushMessagesRequest) -> tuple[Message, Parts]:
    """The one answer in a request, and its parts."""
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        raise NotYoursError
    runtimes = request.clientapp_runtime_list
    if len(runtimes) > 1 or not all(0 <= each <= _LONGEST_RUNTIME for each in runtimes):
        raise NotYoursError
    tree = request.message_object_trees[0]
    parts = parts_of(tree)
    metadata = request.messages_list[0].metadata
    bound = (
        metadata.src_node_id == node
        and metadata.dst_node_id == SUPERLINK_NODE_ID
        and bool(metadata.reply_to_message_id)
        and metadata.message_id == tree.object_id
        and math.isfinite(metadata.created_at)
        and math.isfinite(metadata.ttl)
    )
    message = None
    with suppress(Exception):  # whatever a node's bytes make Flower raise
        message = message_from_proto(request.messages_list[0])
    if message is None or parts is None or not bound:
        raise NotYoursError
    return message, parts
