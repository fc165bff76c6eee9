"""What the SuperLink lets in by which of its sockets, and what it takes from whom before it knows who asks."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sealora_server.deployment.superlink.paths import FLEET_PATHS, HEALTH, OPEN_FLEET

SMALL_BODY_BYTES = 64 * 1024
"""A request with a body of this size is read whoever makes it; Flower looks at its signature only afterwards."""


class FleetGate:
    """Serves everything on the socket at `trusted_socket`, and what sites need on any other.

    Sites are told to come later (503) until OPEN_FLEET was asked for on the trusted socket: a site whose key is not
    registered yet would take the refusal for final.

    Args:
        app: the SuperLink.
        trusted_socket: path of the socket that serves everything.
        is_node: whether these headers were signed with a registered node's key. Asked before a large body is read,
            so that strangers cannot fill the memory.
    """

    def __init__(self, app: ASGIApp, trusted_socket: str, is_node: Callable[[Mapping[str, str]], bool]) -> None:
        self._app = app
        self._trusted_socket = trusted_socket
        self._is_node = is_node
        self._is_open = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        asked = (scope.get("method"), scope["path"])
        if scope.get("server") == (self._trusted_socket, None):
            if asked == ("POST", OPEN_FLEET):
                self._is_open = True
                await answer_empty(send, 200)
                return
        elif refusal := self._refusal(asked, Headers(scope=scope)):
            await answer_empty(send, refusal)
            return
        await self._app(scope, receive, send)

    def _refusal(self, asked: tuple[str | None, str], headers: Headers) -> int | None:
        if asked != ("GET", HEALTH) and not (asked[0] == "POST" and asked[1] in FLEET_PATHS):
            return 403
        if not self._is_open:
            return 503
        is_small = "transfer-encoding" not in headers and int(headers.get("content-length", "0")) <= SMALL_BODY_BYTES
        return None if is_small or self._is_node(headers) else 401


def signed_by_a_node(headers: Mapping[str, str], is_registered: Callable[[bytes], bool]) -> bool:
    """Whether Flower's node authentication headers name a registered key and were signed with it.

    When they were signed is left to Flower, which looks at it once the body is there.

    Args:
        headers: of a request; names in lower case.
        is_registered: whether a public key (PEM) is a node's.
    """
    from flwr.common.constant import TIMESTAMP_HEADER
    from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
    from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature

    try:
        key = b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
        signature = b64decode(headers[FLEET_HTTP_SIGNATURE_HEADER], validate=True)
        timestamp = headers[TIMESTAMP_HEADER].encode("ascii")
    except (KeyError, ValueError, binascii.Error):
        return False
    return is_registered(key) and verify_signature(bytes_to_public_key(key), timestamp, signature)


async def answer_empty(send: Send, status: int) -> None:
    """Answers a request with a status alone."""
    headers = [(b"content-length", b"0")]
    if status == 401:
        headers.append((b"connection", b"close"))  # its body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
