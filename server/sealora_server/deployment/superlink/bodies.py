"""A request's body, whole, within a size and a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.types import Receive

SMALL_BYTES = 64 * 1024
"""A body of this size may take `seconds`; a larger one longer, at the least rate that is put up with."""
LEAST_BYTES_PER_SECOND = 32 * 1024


class BodyTooLargeError(Exception):
    """A body is larger than the path takes."""


class BodyTooSlowError(Exception):
    """A body did not come in time."""


class ClientGoneError(Exception):
    """The connection ended before the body was whole."""


def most_bytes(headers: Iterable[tuple[bytes, bytes]], limit: int) -> int:
    """How large a body with these headers may be: what it says, or the limit if it does not.

    Raises:
        BodyTooLargeError: it says more than the limit, or something that is no length.
    """
    given = {name.lower(): value for name, value in headers}
    length = given.get(b"content-length")
    if length is None:
        return limit
    if not length.isdigit() or len(length) > 18 or int(length) > limit:
        raise BodyTooLargeError
    return int(length)


async def read_body(receive: Receive, most: int, seconds: float) -> bytes:
    """Reads it.

    Args:
        receive: the request's.
        most: bytes.
        seconds: for `SMALL_BYTES` or fewer; what is more has a second longer for each `LEAST_BYTES_PER_SECOND`.

    Raises:
        BodyTooLargeError, BodyTooSlowError, ClientGoneError: see there.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds + max(0, most - SMALL_BYTES) / LEAST_BYTES_PER_SECOND):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGoneError
                body += message.get("body", b"")
                if len(body) > most:
                    raise BodyTooLargeError
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise BodyTooSlowError from None
