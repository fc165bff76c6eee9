"""The embedded front's application: decides about each request, and streams it to the SuperLink and back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpcore
from starlette.types import Message, Receive, Scope, Send

from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.front.rules import ConnectionLimit, RateLimit
from sealora_server.deployment.superlink.paths import FLEET_PATHS, HEALTH

log = logging.getLogger(__name__)

SLOT = "slot"
"""Key of a connection's place in the state of its requests."""

Headers = list[tuple[bytes, bytes]]

_UNANSWERED = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)
_URL = b"http://superlink"
_HEALTH_SECONDS = 3.0
_HEARD = 200
# Of one hop only (RFC 9110, section 7.6.1), or said anew here.
_OWN_HEADERS = frozenset(
    b"connection,keep-alive,proxy-authenticate,proxy-authorization,te,trailer,transfer-encoding,upgrade,host,expect,"
    b"server,date".split(b",")
)


class _BodyTooLargeError(Exception):
    pass


class _ClientGoneError(Exception):
    pass


class Front:
    """An ASGI application.

    Args:
        fleet_socket: the SuperLink's socket for what sites need.
        limits: what a client is allowed.
        connections: told on which a registered node was heard.
    """

    def __init__(self, fleet_socket: Path, limits: LimitsSection, connections: ConnectionLimit) -> None:
        self._limits = limits
        self._connections = connections
        self._rate = RateLimit(limits.requests_per_second, limits.request_burst)
        self._superlink = httpcore.AsyncConnectionPool(
            uds=str(fleet_socket), max_connections=limits.connections, keepalive_expiry=30.0
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        client = scope.get("client")
        if not self._rate.allows(client[0] if client else "", time.monotonic()):
            await _refuse(send, 503)
        elif scope["method"] == "GET" and scope["path"] == "/healthz":
            await self._answer_health(send)
        elif scope["method"] == "POST" and scope["path"] in FLEET_PATHS:
            await self._pass_on(scope, receive, send)
        else:
            await _refuse(send, 403)

    async def close(self) -> None:
        """Closes the connections to the SuperLink."""
        await self._superlink.aclose()

    async def _answer_health(self, send: Send) -> None:
        timeout = {"connect": _HEALTH_SECONDS, "read": _HEALTH_SECONDS, "pool": _HEALTH_SECONDS}
        try:
            response = await self._superlink.request(
                b"GET", _URL + HEALTH.encode(), headers=[(b"host", b"superlink")], extensions={"timeout": timeout}
            )
        except _UNANSWERED as error:
            await _refuse(send, _status_of(error))
        else:
            await _refuse(send, response.status)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"])
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._limits.header_bytes:
            await _refuse(send, 400)
            return
        if b"content-length" in given and b"transfer-encoding" in given:
            await _refuse(send, 400)  # two lengths: which one counts must never be a question (RFC 9112, section 6.1)
            return
        if int(given.get(b"content-length", b"0")) > self._limits.body_bytes:
            await _refuse(send, 413)
            return
        seconds = self._limits.answer_seconds
        timeout = {"connect": seconds, "read": seconds, "write": seconds, "pool": seconds}
        # The path as it stands in the list: nothing of the client's own spelling, and no query, goes further.
        url = _URL + scope["path"].encode()
        headers = [(b"host", b"superlink"), *_passed(scope["headers"])]
        if b"content-length" not in given:
            headers.append((b"transfer-encoding", b"chunked"))
        answered = False
        try:
            async with self._superlink.stream(
                b"POST", url, headers=headers, content=self._body(receive), extensions={"timeout": timeout}
            ) as response:
                answered = True
                if response.status == _HEARD:
                    self._hear(scope)
                await self._answer(response, send)
        except _ClientGoneError:
            return
        except (_BodyTooLargeError, TimeoutError, *_UNANSWERED) as error:
            if answered:  # too late for another status: the connection must end
                raise
            if isinstance(error, _UNANSWERED):
                log.warning("the SuperLink did not answer %s: %s", scope["path"], type(error).__name__)
            await _refuse(send, _status_of(error))

    def _hear(self, scope: Scope) -> None:
        """The SuperLink answers nobody so but a registered node."""
        slot = scope.get("state", {}).get(SLOT)
        if slot is not None:
            self._connections.know(slot)

    async def _body(self, receive: Receive) -> AsyncIterator[bytes]:
        taken = 0
        while True:
            message: Message = await asyncio.wait_for(receive(), self._limits.body_seconds)
            if message["type"] != "http.request":
                raise _ClientGoneError
            taken += len(message.get("body", b""))
            if taken > self._limits.body_bytes:
                raise _BodyTooLargeError
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def _answer(self, response: httpcore.Response, send: Send) -> None:
        headers = _passed(response.headers)
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        async for chunk in response.aiter_stream():
            await asyncio.wait_for(
                send({"type": "http.response.body", "body": chunk, "more_body": True}), self._limits.body_seconds
            )
        await send({"type": "http.response.body", "body": b""})


def _passed(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in _OWN_HEADERS]


def _status_of(error: Exception) -> int:
    if isinstance(error, _BodyTooLargeError):
        return 413
    if isinstance(error, TimeoutError):
        return 408
    return 504 if isinstance(error, httpcore.TimeoutException) else 502


async def _refuse(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0")]
    if status in {400, 408, 413}:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
