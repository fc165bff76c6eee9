"""What nodes answer: bound to the node that was asked, one answer at a time, within a size.

Flower's SuperLink takes an answer in any node's name, takes what answers nothing for an order to another node, keeps as
many parts as an answer announces, and forgets none until the run ends.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from flwr.app import Message
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest, PushObjectResponse
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.inflatable.inflatable_object import is_valid_sha256_hash, iterate_object_tree
from flwr.superlink.servicer.fleet import fleet_handlers

from sealora_server.deployment.superlink.quotas import Quotas

MOST_PARTS = 10_000
"""An answer of ours has a handful of records and its vector in pieces of 5 MB."""


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
    missing: set[str]


class Replies:
    """The answers that nodes are sending.

    Args:
        state: Flower's.
        quotas: told of what is kept.
        most_bytes: of one answer.
    """

    def __init__(self, state: LinkState, quotas: Quotas, most_bytes: int) -> None:
        self._state = state
        self._quotas = quotas
        self._most = most_bytes
        self._latest: dict[tuple[int, int], _Reply] = {}

    def begin(self, node: int, request: PushMessagesRequest) -> PushMessagesResponse:
        """Takes the envelope of an answer; says which parts are missing. It may come again.

        What the node answered before in the same run is dropped if the server did not fetch it: it has asked for
        something else since, and waits for that no more.

        Raises:
            NotYoursError: it is no answer, or not this node's.
            FlowerError: the run is over.
        """
        message, tree = _of_node(node, request)
        run = message.metadata.run_id
        former = self._latest.get((node, run))
        if former is None or former.message_id != message.metadata.message_id:
            self._drop(node, run)
        response = fleet_handlers.push_messages(request, self._state)
        missing = set(response.objects_to_push)
        if self._is_stored(response, tree):
            self._latest[node, run] = _Reply(
                tree.object_id, message.metadata.reply_to_message_id, response.session_id, missing
            )
        return response

    def add(self, node: int, request: PushObjectRequest) -> PushObjectResponse:
        """Takes a part of this node's latest answer in its run, and no other.

        Raises:
            AnswerTooLargeError: the answer is larger than the server takes.
            FlowerError: the run is over.
        """
        reply = self._latest.get((node, request.run_id))
        if reply is None or not request.session_id or reply.session != request.session_id:
            return PushObjectResponse(stored=False)
        size = len(request.object_content)
        if self._quotas.kept(node, request.run_id) + size > self._most:
            raise AnswerTooLargeError
        response = fleet_handlers.push_object(request, self._state)
        if response.stored:
            self._quotas.keep(node, request.run_id, size)
            reply.missing.discard(request.object_id)
        return response

    def is_whole(self, node: int, run: int) -> bool:
        """Whether no part of the node's latest answer in the run is missing."""
        reply = self._latest.get((node, run))
        return reply is not None and not reply.missing

    def forget_ended(self) -> None:
        """Forgets answers in runs that are over, which Flower has deleted."""
        runs = {run for _, run in self._latest}
        going_on = {run.run_id for run in self._state.get_run_info(run_ids=list(runs)) if not run.finished_at}
        for node, run in [key for key in self._latest if key[1] not in going_on]:
            del self._latest[node, run]
            self._quotas.drop(node, run)

    def _drop(self, node: int, run: int) -> None:
        self._quotas.drop(node, run)
        reply = self._latest.pop((node, run), None)
        if reply is None:
            return
        self._state.delete_messages({reply.answers})
        self._state.object_store.delete(reply.message_id)
        # Flower's list of what is awaited: in a database it costs nothing, in memory it would stay until the run ends.
        clean = getattr(self._state, "_cleanup_push_session", None)
        if clean is not None:
            clean(reply.session, cleanup_messages=False)

    def _is_stored(self, response: PushMessagesResponse, tree: ObjectTree) -> bool:
        """Flower says "stored" of an answer that it did not store. What it stored, it has registered the parts of."""
        return bool(response.objects_to_push) or tree.object_id in self._state.object_store


def _of_node(node: int, request: PushMessagesRequest) -> tuple[Message, ObjectTree]:
    """The one answer in a request, and its tree."""
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        raise NotYoursError
    if len(request.clientapp_runtime_list) > 1:
        raise NotYoursError
    tree = request.message_object_trees[0]
    for count, part in enumerate(iterate_object_tree(tree)):
        if count >= MOST_PARTS or not is_valid_sha256_hash(part.object_id):
            raise NotYoursError
    metadata = request.messages_list[0].metadata
    bound = (
        metadata.src_node_id == node
        and metadata.dst_node_id == SUPERLINK_NODE_ID
        and bool(metadata.reply_to_message_id)
        and metadata.message_id == tree.object_id
    )
    message = None
    with suppress(Exception):  # whatever a node's bytes make Flower raise
        message = message_from_proto(request.messages_list[0])
    if message is None or not bound:
        raise NotYoursError
    return message, tree
