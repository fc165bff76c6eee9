"""HTTP clients whose every exchange ends: within so many seconds and so many bytes, whatever the other side does.

httpx bounds each single read and write; a peer that sends a byte every few seconds, interim answers without end, or a
body without end keeps it waiting for ever. Here the bounds hold for the whole exchange, at the level of the network:
connecting, the TLS handshake, the request, the answer's head and its body count against one deadline, and every byte
that comes counts. All HTTP clients of both sides are made here (`tests/test_bounded_http.py`).
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpcore
import httpx

from sealora_common.network.proxy import Proxy

_PIECE = 1 << 16
"""Bytes written at a time: the deadline is looked at in between."""


@dataclass(frozen=True)
class AnswerBounds:
    """What one exchange may take.

    Attributes:
        seconds: from the first attempt to connect to the last byte of the answer.
        size: bytes of the answer as they come from the network, head and framing included.
    """

    seconds: float
    size: int


class BoundedClient(httpx.Client):
    """A client that follows no redirects, unpacks nothing and bounds every exchange.

    An exchange that takes too long raises `httpx.TimeoutException`, one that is too large `httpx.RemoteProtocolError`.

    Args:
        bounds: of each request.
        timeout: of each single connect, read and write.
        verify: how the server's certificate is checked.
        proxy: that leads to the server. What the environment says of proxies is not read here, see `proxy`.
        uds: a Unix socket that is spoken over.
    """

    def __init__(
        self,
        bounds: Callable[[httpx.Request], AnswerBounds],
        *,
        timeout: httpx.Timeout | float,
        verify: ssl.SSLContext | bool = True,
        proxy: Proxy | None = None,
        uds: Path | None = None,
    ) -> None:
        super().__init__(
            verify=_public_authorities() if verify is True else verify,
            trust_env=False,
            proxy=None if proxy is None else proxy.url,
            timeout=timeout,
            follow_redirects=False,
            headers={"accept-encoding": "identity"},
            event_hooks={"response": [_refuse_compressed]},
            transport=None if uds is None else httpx.HTTPTransport(uds=str(uds)),
        )
        self._bounds = bounds
        for transport in (self._transport, *self._mounts.values()):
            if isinstance(transport, httpx.HTTPTransport):
                pool = transport._pool
                pool._network_backend = _Backend(pool._network_backend)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """As httpx's. What a caller that streams reads later counts as well, until this thread sends again."""
        _current.exchange = _Exchange(self._bounds(request))
        return super().send(request, **options)


@cache
def _public_authorities() -> ssl.SSLContext:
    """httpx's own context, which takes long to read: one for all clients, none of which changes it."""
    return httpx.create_ssl_context(trust_env=False)


class _Exchange:
    """What is left of the bounds of the exchange that this thread is at."""

    def __init__(self, bounds: AnswerBounds) -> None:
        self._bounds = bounds
        self._ends = time.monotonic() + bounds.seconds
        self._left = bounds.size

    def seconds(self, error: type[httpcore.TimeoutException], at_most: float | None) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise error(f"the exchange took longer than {self._bounds.seconds:.0f} s")
        return left if at_most is None else min(left, at_most)

    def count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise httpcore.RemoteProtocolError(f"the answer is larger than {self._bounds.size} bytes")


_current = threading.local()
_NONE = AnswerBounds(60.0, 1 << 20)


def _exchange() -> _Exchange:
    if not hasattr(_current, "exchange"):  # an answer that another thread asked for is read here
        _current.exchange = _Exchange(_NONE)
    return cast(_Exchange, _current.exchange)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        seconds = _exchange().seconds(httpcore.ConnectTimeout, timeout)
        return _Stream(self._inner.connect_tcp(host, port, seconds, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        seconds = _exchange().seconds(httpcore.ConnectTimeout, timeout)
        return _Stream(self._inner.connect_unix_socket(path, seconds, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        exchange = _exchange()
        content = self._inner.read(max_bytes, exchange.seconds(httpcore.ReadTimeout, timeout))
        exchange.count(len(content))
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        exchange = _exchange()
        for start in range(0, len(buffer), _PIECE):
            piece = bytes(memoryview(buffer)[start : start + _PIECE])
            self._inner.write(piece, exchange.seconds(httpcore.WriteTimeout, timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        # One wait for the whole handshake, however many messages it takes (Python's ssl module).
        seconds = _exchange().seconds(httpcore.ConnectTimeout, timeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _refuse_compressed(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx.RemoteProtocolError("the answer is compressed, which was not asked for")
