"""The inline engine: every site's ClientApp runs in this process, one after another, over one base model."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import NoReturn

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

_RUN_ID = 1
_SERVER_NODE_ID = 1
_CLIENT_APP_RAISED = 2  # flwr.common.constant.ErrorCode.CLIENT_APP_RAISED_EXCEPTION


class InlineGrid(Grid):
    """A grid whose nodes are calls of one ClientApp, each with a context of its own.

    A message is delivered when its reply is pulled, one a pull, so that the caller sees replies as they come.
    """

    most_pending = 16
    """See `run.exchange.NarrowGrid`: what a stage sends to hundreds of sites does not lie here all at once."""

    def __init__(self, client_app: ClientApp, node_configs: list[UserConfig]) -> None:
        self._client_app = client_app
        self._contexts = {
            node_id: Context(run_id=_RUN_ID, node_id=node_id, node_config=config, state=RecordDict(), run_config={})
            for node_id, config in enumerate(node_configs, start=_SERVER_NODE_ID + 1)
        }
        self._undelivered: dict[str, Message] = {}
        # Flower stamps every message with the identity of the task that runs in this process.
        TaskIdentity.run_id = _RUN_ID
        TaskIdentity.node_id = _SERVER_NODE_ID
        TaskIdentity.task_id = 1

    def get_node_ids(self) -> list[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            message_id = uuid.uuid4().hex
            message.metadata.__dict__["_message_id"] = message_id  # set by the SuperLink in a deployment
            self._undelivered[message_id] = message
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        for message_id in message_ids:
            message = self._undelivered.pop(message_id, None)
            if message is not None:
                return [self._deliver(message)]
        return []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [self._deliver(self._undelivered.pop(message_id)) for message_id in self.push_messages(messages)]

    def set_run(self, run: Run) -> None:
        raise NotImplementedError("an inline simulation has one run")

    @property
    def run(self) -> Run:
        raise NotImplementedError("an inline simulation has no SuperLink and so no run record")

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> NoReturn:
        raise NotImplementedError("deprecated by Flower: construct flwr.app.Message")

    def _deliver(self, message: Message) -> Message:
        context = self._contexts[message.metadata.dst_node_id]
        try:
            return self._client_app(message, context)
        except Exception as error:  # as Flower's own runtimes do, so that strategies meet the same replies
            return Message(Error(_CLIENT_APP_RAISED, f"{type(error).__name__}: {error}"), reply_to=message)
