"""Responses: a status alone, a body, or an error as Flower words it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from flwr.supercore.error import FlowerError
from flwr.supercore.error.catalog import API_ERROR_MAP
from flwr.supercore.error.http import INTERNAL_SERVER_ERROR_MESSAGE
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from sealora_server.deployment.superlink.bodies import SMALL_BYTES

LINGERING_SECONDS = 1.0
_BODY_UNREAD = frozenset({400, 401, 403, 408, 413, 503})

log = logging.getLogger(__name__)


class Coming:
    """A request's body as it comes (a `receive`), and whether all of it has."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_over = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.is_over = message["type"] != "http.request" or not message.get("more_body")
        return message


def lingering(body: Coming, send: Send) -> Send:
    """A `send` that ends a response only once what was under way of the request's body has come.

    A connection that is closed while data come in on it is reset, and a proxy that is still writing them then loses the
    answer, and tells of a bad gateway instead (RFC 9112, section 9.6). The answer itself leaves at once; small bodies
    are waited for, and no longer than `LINGERING_SECONDS`.
    """

    async def lingered(message: Message) -> None:
        if message["type"] != "http.response.body" or message.get("more_body"):
            await send(message)
            return
        await send({**message, "more_body": True})
        await _let_come(body)
        await send({"type": "http.response.body", "body": b""})

    return lingered


async def _let_come(body: Coming) -> None:
    left = SMALL_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGERING_SECONDS):
            while left > 0 and not body.is_over:
                left -= len((await body()).get("body", b""))


async def answer_empty(send: Send, status: int) -> None:
    """Answers a request with a status alone, and ends the connection where its body was not read."""
    headers = [(b"content-length", b"0")]
    if status in _BODY_UNREAD:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def answer_with(send: Send, body: bytes, media_type: str) -> None:
    """Answers with a body."""
    headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_error(scope: Scope, send: Send, error: Exception) -> None:
    """Answers with what Flower makes of an error: its code and public sentence, or 500 for what it did not expect.

    As Flower's `http_error_translator`, which would also log its private sentence, and that quotes the request: a key,
    for example. Here only what is a fault of the server's is logged.
    """
    response = _response(error)
    if response.status_code >= 500 and not isinstance(error, FlowerError):
        log.error("a request to %s failed unexpectedly", scope["path"], exc_info=error)
    response.headers["connection"] = "close"
    await response(scope, _nothing, send)


def _response(error: Exception) -> Response:
    spec = API_ERROR_MAP.get(error.code) if isinstance(error, FlowerError) else None
    if isinstance(error, FlowerError) and spec is not None:
        return JSONResponse(error.to_json(spec.public_message), spec.http_status_code, spec.http_headers)
    if isinstance(error, HTTPException):
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    return JSONResponse({"detail": INTERNAL_SERVER_ERROR_MESSAGE}, 500)


async def _nothing() -> dict[str, str]:
    return {"type": "http.disconnect"}
