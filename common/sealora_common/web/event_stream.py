"""Parts of a page that have changed, told while it is open: server-sent events (HTML, section 9.2).

However many look at one page, it is rendered once: one producer makes its parts, and each listener is sent those that
are new to it. A listener that is slow misses what was replaced meanwhile and gets the latest; nothing is kept for it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sealora_common.web.guard import refusal

log = logging.getLogger(__name__)

MOST_LISTENERS = 1200
HEARTBEAT_SECONDS = 15.0
_EVERY_SECONDS = 1.0
_SEND_SECONDS = 30.0
_AGAIN_MILLISECONDS = 3000

Parts = Mapping[str, str]
"""What is in each part of a page: the element's id, and its HTML."""


@dataclass
class _Topic:
    """One page, as long as anybody looks at it.

    Attributes:
        changed: by part: its HTML, and the version in which it became that.
        version: the newest.
        news: set and replaced at each change.
    """

    render: Callable[[], Parts]
    listeners: int = 0
    version: int = 0
    changed: dict[str, tuple[str, int]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    producer: asyncio.Task[None] | None = None

    def take(self, parts: Parts, versions: Iterator[int]) -> None:
        new = {name: html for name, html in parts.items() if self.changed.get(name, ("", 0))[0] != html}
        if new:
            self.version = next(versions)
            self.changed |= {name: (html, self.version) for name, html in new.items()}
            self.tell()

    def tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()


class EventStreams:
    """All event streams of a server.

    Args:
        most: listeners at a time; whoever comes beyond is told to come again (503).
        every: seconds between two looks at what a page is made from.
        heartbeat: seconds after which a line says that the connection lives.
    """

    def __init__(
        self, *, most: int = MOST_LISTENERS, every: float = _EVERY_SECONDS, heartbeat: float = HEARTBEAT_SECONDS
    ) -> None:
        self._most = most
        self._every = every
        self._heartbeat = heartbeat
        self._topics: dict[str, _Topic] = {}
        self._listeners = 0
        self._is_over = False
        self._versions = itertools.count(1)  # of all pages: one that is looked at again goes on
        self._epoch = secrets.token_hex(4)  # versions of a server that was started again are others

    @property
    def listeners(self) -> int:
        """How many look."""
        return self._listeners

    def response(
        self,
        request: Request,
        topic: str,
        render: Callable[[], Parts],
        *,
        is_welcome: Callable[[], bool] = lambda: True,
    ) -> Response:
        """The answer to whoever looks at a page.

        Args:
            request: with `Last-Event-ID` it goes on from there.
            topic: names the page: what is rendered for one listener is sent to all of it, so it must be fit for each.
            render: makes the page's parts. Called in a thread, never twice at once for a topic; of an error only its
                kind is logged, and the page stays as it is.
            is_welcome: asked before anything is sent: a session may end while a page is open.
        """
        if self._is_over or self._listeners >= self._most:
            refused = refusal(503, "As many pages are open as may be: close some, or try again later.")
            refused.headers["Retry-After"] = "10"
            return refused
        epoch, _, version = request.headers.get("last-event-id", "").partition("-")
        seen = int(version) if epoch == self._epoch and version.isdecimal() and len(version) < 16 else 0
        return _EventAnswer(self, topic, render, seen, is_welcome)

    def close(self) -> None:
        """Ends all streams, for good: called when the server is to stop."""
        self._is_over = True
        for topic in self._topics.values():
            topic.tell()

    async def follow(
        self,
        send: Send,
        name: str,
        render: Callable[[], Parts],
        seen: int,
        is_welcome: Callable[[], bool],
    ) -> None:
        """Sends one listener what is new until it goes away or all ends."""
        topic = self._topics.setdefault(name, _Topic(render))
        topic.listeners += 1
        self._listeners += 1
        if topic.producer is None:
            topic.producer = asyncio.create_task(self._produce(topic))
        try:
            await _sent(send, f"retry: {_AGAIN_MILLISECONDS}\n\n")
            while not self._is_over:
                news = topic.news
                parts = {part: html for part, (html, version) in topic.changed.items() if version > seen}
                if not is_welcome():
                    return
                if parts:
                    seen = topic.version
                    await _sent(send, f"id: {self._epoch}-{seen}\nevent: parts\ndata: {json.dumps(parts)}\n\n")
                try:
                    async with asyncio.timeout(self._heartbeat):
                        await news.wait()
                except TimeoutError:
                    await _sent(send, "event: heartbeat\ndata:\n\n")
        finally:
            self._listeners -= 1
            topic.listeners -= 1
            if topic.listeners == 0:
                topic.producer.cancel()
                self._topics.pop(name, None)

    async def _produce(self, topic: _Topic) -> None:
        while not self._is_over:
            try:
                topic.take(await asyncio.to_thread(topic.render), self._versions)
            except Exception as error:  # its text may quote what no log is to hold
                log.error("a page could not be brought up to date (%s)", type(error).__name__)
            await asyncio.sleep(self._every)


class _EventAnswer(Response):
    """An answer that ends when its listener goes away, or takes nothing for half a minute."""

    def __init__(
        self,
        streams: EventStreams,
        topic: str,
        render: Callable[[], Parts],
        seen: int,
        is_welcome: Callable[[], bool],
    ) -> None:
        super().__init__(media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        del self.headers["Content-Length"]
        self._streams, self._topic, self._render = streams, topic, render
        self._seen, self._is_welcome = seen, is_welcome

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        following = asyncio.create_task(
            self._streams.follow(send, self._topic, self._render, self._seen, self._is_welcome)
        )
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (following, gone):
                task.cancel()
            await asyncio.gather(following, gone, return_exceptions=True)
        if not gone.done() or gone.cancelled():
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _sent(send: Send, text: str) -> None:
    async with asyncio.timeout(_SEND_SECONDS):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
