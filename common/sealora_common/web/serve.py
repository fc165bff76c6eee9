"""The process that answers: an address taken first, Uvicorn on it, and an end that waits for nobody for long."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealora_common.errors import PolicyError
from sealora_common.network.address import host_and_port, is_loopback
from sealora_common.network.bound_socket import bound_socket
from sealora_common.network.tls import server_context

_LONGEST_HEAD = 16 * 2**10
_IDLE_SECONDS = 30
_LOOK_TICKS = 300  # of Uvicorn's, ten a second
MOST_CONNECTIONS = 1400

log = logging.getLogger(__name__)


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

    @classmethod
    def at(cls, listen: str, certificate: Certificate | None, *, is_behind_proxy: bool) -> WebAddress:
        """From `host:port`, as a person writes it; the rest as above.

        Raises:
            PolicyError: it is no address and port.
        """
        try:
            host, port = host_and_port(listen)
        except ValueError:
            raise PolicyError(f"{listen!r} is no address and port: write one such as 127.0.0.1:8080") from None
        return cls(host, port, certificate, is_behind_proxy)

    @property
    def is_secure(self) -> bool:
        """Whether browsers ask by https."""
        return self.certificate is not None or self.is_behind_proxy

    def require_private(self) -> None:
        """Refuses an address that other machines can reach, if what they send would be readable on the way.

        Raises:
            PolicyError: it is one.
        """
        if not is_loopback(self.host) and not self.is_secure:
            raise PolicyError(
                f"{self.host}: other machines would log in here without encryption: listen on 127.0.0.1, give it a "
                "certificate, or say that a proxy in front of it does TLS"
            )

    def taken(self) -> socket.socket:
        """The address, bound and not listening yet; nobody else can have it meanwhile.

        Raises:
            PolicyError: as `require_private`.
            StorageError: it is taken, or none of this machine's.
        """
        self.require_private()
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
    shown = None if certificate is None else _ServedCertificate(certificate)
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
        ssl_context_factory=None if shown is None else lambda config, default: shown.context,
    )
    _Server(config, tell, stopping, lambda: None if shown is None else shown.look()).run(sockets=[taken])


class _ServedCertificate:
    """A TLS context whose certificate is read again when its file changes: it is renewed while pages are served."""

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate
        self._seen = self._changed_at()
        try:
            self.context = server_context(certificate.chain, certificate.key)
        except OSError as error:  # which an `ssl.SSLError` is
            raise PolicyError(
                f"{certificate.chain}: cannot be used with its key ({error.strerror or error}): name a certificate "
                "and its private key"
            ) from None

    def look(self) -> None:
        """Shows new connections the new certificate, if there is one that can be used."""
        now = self._changed_at()
        if now == self._seen:
            return
        self._seen = now
        try:
            server_context(self._certificate.chain, self._certificate.key)  # a wrong pair would break the one in use
            self.context.load_cert_chain(self._certificate.chain, self._certificate.key)
        except OSError as error:
            log.error("%s: the new certificate cannot be used, the old one stays (%s)", self._certificate.chain, error)

    def _changed_at(self) -> tuple[float, float]:
        try:
            return self._certificate.chain.stat().st_mtime, self._certificate.key.stat().st_mtime
        except OSError:
            return 0.0, 0.0


class _Server(uvicorn.Server):
    """Says when it can be asked and when it is to stop, and looks at its certificate now and then."""

    def __init__(
        self, config: uvicorn.Config, tell: Callable[[], None], stopping: Callable[[], None], look: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._tell = tell
        self._stopping = stopping
        self._look = look

    async def on_tick(self, counter: int) -> bool:
        if counter % _LOOK_TICKS == 0:
            self._look()
        return await super().on_tick(counter)

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
