"""Responses: a status alone, a body, or an error as Flower words it."""

from __future__ import annotations

from typing import NoReturn

from flwr.supercore.error.http import http_error_translator
from starlette.requests import Request
from starlette.types import Scope, Send

_BODY_UNREAD = frozenset({400, 401, 403, 408, 413, 503})


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
    """Answers with what Flower makes of an error: its code and public sentence, or 500 for what it did not expect."""

    async def fail(request: Request) -> NoReturn:
        raise error

    response = await http_error_translator(Request(scope), fail)
    response.headers["connection"] = "close"
    await response(scope, _nothing, send)


async def _nothing() -> dict[str, str]:
    return {"type": "http.disconnect"}
