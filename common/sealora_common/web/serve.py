"""The process that answers: an address taken first, Uvicorn on it, and an end that waits for nobody for long."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealora_common.errors import PolicyError
from sealora_common.network.address import is_loopback
from sealora_common.network.bound_socket import bound_socket
from sealora_common.network.tls import server_context

_LONGEST_HEAD = 16 * 2**10
_IDLE_SECONDS = 30
MOST_CONNECTIONS = 1400


@dataclass(frozen=True)
class Certificate:
    """What proves a server to a browser.

    Attributes:
        chain: PEM file of the certificate and those that vouch for it.
        key: PEM file of its private key.
    """

    chain: Path
    key: Path


@dataclass(frozen=True)
class WebAddress:
    """Where pages are served.

    Attributes:
        host: name or address at which it listens.
        port: 0 takes a free one.
        certificate: for TLS; None serves without.
        is_behind_proxy: whether somebody has said that a proxy in front of it does TLS.
    """

    host: str
    port: int
    certificate: Certificate | None = None
    is_behind_proxy: bool = False

    @property
    def is_secure(self) -> bool:
        """Whether browsers ask by https."""
        return self.certificate is not None or self.is_behind_proxy

    def taken(self) -> socket.socket:
        """The address, bound and not listening yet; nobody else can have it meanwhile.

        Raises:
            PolicyError: other machines could reach it, and what they send would be readable on the way.
            StorageError: it is taken, or none of this machine's.
        """
        if not is_loopback(self.host) and not self.is_secure:
            raise PolicyError(
                f"{self.host}: other machines would log in here without encryption: listen on 127.0.0.1, give it a "
                "certificate, or say that a proxy in front of it does TLS"
            )
        return bound_socket(self.host, self.port)


def url_of(taken: socket.socket, scheme: str) -> str:
    """The URL of a bound socket, without a slash at its end."""
    host, port = taken.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def answer_requests(
    app: ASGIApp,
    taken: socket.socket,
    tell: Callable[[], None],
    *,
    certificate: Certificate | None = None,
    most_connections: int = MOST_CONNECTIONS,
    grace: int = 3,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Answers until SIGTERM or SIGINT.

    Args:
        app: what answers; with a lifespan.
        taken: where.
        tell: called once it can be asked.
        certificate: for TLS.
        most_connections: at a time; beyond, connections are answered 503.
        grace: seconds that answers in hand have once it is to stop.
        stopping: called when it is to stop, before answers in hand are waited for.

    Raises:
        PolicyError: the certificate cannot be used.
        KeyboardInterrupt: SIGINT came; all is closed then.
    """
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # tells of its steps, and in full of answers cut off
    config = uvicorn.Config(
        app,
        http=_PunctualProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        limit_concurrency=most_connections,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=grace,
        ssl_context_factory=None if certificate is None else _context_of(certificate),
    )
    _Server(config, tell, stopping).run(sockets=[taken])


def _context_of(certificate: Certificate) -> Callable[[uvicorn.Config, object], ssl.SSLContext]:
    try:
        context = server_context(certificate.chain, certificate.key)
    except OSError as error:  # which an `ssl.SSLError` is
        raise PolicyError(
            f"{certificate.chain}: cannot be used with its key ({error.strerror or error}): name a certificate and its "
            "private key"
        ) from None
    return lambda config, default: context


class _Server(uvicorn.Server):
    """Says when it can be asked, and when it is to stop."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)


class _PunctualProtocol(H11Protocol):
    """Uvicorn's, which would wait forever for the rest of a request's head."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(_IDLE_SECONDS, self._look_again, None)

    def _look_again(self, before: object) -> None:
        """Closes a connection on which no head has become whole since the last look."""
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE and self.cycle is before:
            self.transport.close()
            return
        self.loop.call_later(_IDLE_SECONDS, self._look_again, self.cycle)
