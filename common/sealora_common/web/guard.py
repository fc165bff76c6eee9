"""What of a browser's requests reaches a page at all, and which headers every answer has.

Who is logged in is `login`'s; here it is about what another site's page could make somebody's browser do: ask under a
name of its own, send a form, frame a page, load it as a script, or have it load or run what is not ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealora_common.web.hosts import is_known_host, known_names

log = logging.getLogger(__name__)

LONGEST_BODY = 256 * 2**10
"""Bytes of a form unless an application says otherwise."""
_BODY_SECONDS = 30.0
_SAFE = ("GET", "HEAD")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    # `no-referrer` would make browsers send the forms of our own pages with `Origin: null` (Fetch, "append a request
    # `Origin` header"), which is what a stranger's sandboxed frame sends; this one tells strangers as little.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PageGuard:
    """Lets through to `app` what may come, and puts the headers on whatever is answered.

    - `Host`: exactly one, and known (421).
    - GET and HEAD; POST only from a page of this very origin (403); nothing else (405).
    - A body of at most `longest_body` bytes, within 30 seconds (413, 408).

    Args:
        app: what answers.
        names: by which this machine may be asked, beside its addresses and `localhost`.
        scheme: with which browsers ask: `https` also where a proxy ends TLS before this server.
        longest_body: bytes of a form, or what says how many one may have by the scope of its request.
    """

    def __init__(
        self,
        app: ASGIApp,
        names: Iterable[str],
        *,
        scheme: Literal["http", "https"] = "http",
        longest_body: int | Callable[[Scope], int] = LONGEST_BODY,
    ) -> None:
        self._app = app
        self._names = known_names(names)
        self._scheme = scheme
        self._longest = longest_body if callable(longest_body) else lambda scope: longest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _GuardedAnswer(send)
        try:
            await self._answered(scope, receive, answer)
        except Exception as error:  # its text may quote what was asked, which no log is to hold
            log.error("a page failed (%s)", type(error).__name__)
            if not answer.has_begun:
                await refusal(500, "This page failed: the server's log says when.")(scope, receive, answer)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refused = self._refusal(scope["method"], headers)
        if refused is None and scope["method"] not in _SAFE:
            try:
                longest = self._longest(scope)
                receive = await self._whole_body(receive, longest)
            except TimeoutError:
                refused = refusal(408, f"The form did not arrive within {_BODY_SECONDS:g} seconds: send it again.")
            except _TooLargeError:
                refused = refusal(413, f"The form is larger than {longest} bytes: send less.")
            except _BrokenOffError:
                return  # half a form may read like a whole one, and nobody is there to be told
        await (refused or self._app)(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if not is_known_host(hosts, self._names):
            return refusal(
                421, "This server is not known by that name: ask by its address, or start it with --name NAME."
            )
        if method in _SAFE:
            return None
        if method != "POST":
            return refusal(405, "Nothing here is done by that method.")
        sites = headers.getlist("sec-fetch-site")
        if headers.getlist("origin") != [f"{self._scheme}://{hosts[0]}"] or sites not in ([], ["same-origin"]):
            return refusal(403, "This was not sent by a page of this server: open its page and do it there.")
        return None

    async def _whole_body(self, receive: Receive, longest: int) -> Receive:
        """What gives the body again, which has come whole."""
        body = bytearray()
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _BrokenOffError
                body += message.get("body", b"")
                if len(body) > longest:
                    raise _TooLargeError
                if not message.get("more_body", False):
                    break
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> MutableMapping[str, Any]:
            return whole.pop() if whole else await receive()

        return again


def refusal(status: int, sentence: str) -> Response:
    """An answer that is one sentence for a person; nothing of what was asked is in it."""
    return PlainTextResponse(f"{sentence}\n", status_code=status)


class _TooLargeError(Exception):
    """More was sent than may be."""


class _BrokenOffError(Exception):
    """Whoever sent a form has gone away in the middle of it."""


class _GuardedAnswer:
    """Sends an answer on, with the headers that every one has; pages are kept nowhere."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)
