"""Hands a message to a site again if the first answer was lost on its way.

Flower hands each message out once: it counts as delivered as soon as a site has asked for it. If the network is cut, or
a front dies, between that and the site, nobody has the message, and the server waits for its answer until the stage's
deadline. A site of ours marks each question with a random id that stays the same until an answer has come
(`PULL_ID`); a question that comes again is answered as it was.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealora_common.wire_format import PULL_ID

PULL = "/v1/fleet/pull-messages"
_OK = 200


@dataclass(eq=False)
class _Node:
    """The last answer to one node."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    pull_id: bytes = b""
    answer: list[Message] = field(default_factory=list)


class PullOnce:
    """Flower's SuperLink, with answers to PULL kept until the next question of the same node.

    Only an answer that Flower gave to an authenticated node is kept, one for each node, and only who knows the id of
    the question is given it again, so nothing can be had that could not be had before. It lies in memory: a
    SuperLink that dies between claiming a message and sending it loses the message all the same.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._nodes: dict[bytes, _Node] = {}
        self._asking: WeakValueDictionary[bytes, _Node] = WeakValueDictionary()  # strangers are soon forgotten

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        pull_id = headers.get(PULL_ID.encode(), b"")
        key = headers.get(FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode(), b"")
        if scope["type"] != "http" or scope["path"] != PULL or not pull_id or not key:
            await self._app(scope, receive, send)
            return
        node = self._nodes.get(key) or self._asking.setdefault(key, _Node())
        async with node.lock:  # a question that comes again may overtake the answer to the first
            if node.pull_id != pull_id:
                answer: list[Message] = []

                async def keep(message: Message) -> None:
                    answer.append(message)

                await self._app(scope, receive, keep)
                if answer and answer[0].get("status") == _OK:
                    node.pull_id, node.answer = pull_id, answer
                    self._nodes[key] = node
            else:
                answer = node.answer
        for message in answer:
            await send(message)
