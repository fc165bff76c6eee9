"""Refuses a signed request that was there before.

Flower's node authentication signs the time and nothing else, and takes a signature for five minutes. Who reads
requests in the clear (a proxy that ends TLS, a front that was broken into) could repeat them as long, or put the
headers of one before the body of another. Here a node's signed time counts once.
"""

from __future__ import annotations

import binascii
import hashlib
import time
from base64 import b64decode
from collections import deque
from collections.abc import Callable

from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealora_server.deployment.superlink.gate import answer_empty

LONGEST_SECONDS = TIMESTAMP_TOLERANCE + 2 * SYSTEM_TIME_TOLERANCE
"""For how long Flower could take a signature, clocks that differ included."""


class RefuseReplays:
    """Lets each node's signed time through once.

    What is remembered is the key and the time, not the signature: of one ECDSA signature anybody can make a second
    (r, -s). It is remembered for as long as Flower would take it, and not if Flower refused the request, so that
    strangers fill no memory.

    Args:
        app: the SuperLink, which checks the signature itself.
        clock: seconds, for tests.
    """

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._seen: set[bytes] = set()
        self._ages: deque[tuple[float, bytes]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        signed = _signed(scope)
        if signed is None:
            await self._app(scope, receive, send)
            return
        self._forget()
        if signed in self._seen:
            await answer_empty(send, 401)
            return
        self._seen.add(signed)  # before Flower looks at it: two that come at once are not both let through
        refused = False

        async def watch(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refused = 400 <= message["status"] < 500
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if refused:
                self._seen.discard(signed)
            else:
                self._ages.append((self._clock(), signed))

    def _forget(self) -> None:
        past = self._clock() - LONGEST_SECONDS
        while self._ages and self._ages[0][0] < past:
            self._seen.discard(self._ages.popleft()[1])


def _signed(scope: Scope) -> bytes | None:
    """Stands for the key that a request names and the time that it says was signed with it; None without them."""
    if scope["type"] != "http":
        return None
    headers = Headers(scope=scope)
    try:
        # Decoded, for one key has several spellings in base64.
        key = b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
        signed_at = headers[TIMESTAMP_HEADER].encode("latin-1")
    except (KeyError, ValueError, binascii.Error):
        return None  # Flower refuses it
    return hashlib.sha256(hashlib.sha256(key).digest() + signed_at).digest()
