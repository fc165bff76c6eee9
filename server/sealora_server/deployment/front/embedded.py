"""The embedded front's process: uvicorn with TLS and with the limits that it lacks."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import BaseModel, ConfigDict
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealora_common.config import LINE, from_json, read_stream
from sealora_common.health.logs import LogFormat, set_up_logs
from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.front.passing import Front
from sealora_server.deployment.front.rules import ConnectionLimit
from sealora_server.deployment.processes import die_with

log = logging.getLogger(__name__)


class FrontSettings(BaseModel):
    """What the supervisor tells this process on its standard input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    supervisor: int
    """Process id."""
    listener: int
    """Descriptor of the listening TCP socket."""
    fleet_socket: Path
    certificate: Path
    key: Path
    limits: LimitsSection
    log: LogFormat


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with this certificate; `load_cert_chain` on it replaces the certificate for new connections.

    OpenSSL's own list of groups stands (`sealora_common.tls_handshake` says why).

    Raises:
        ssl.SSLError: the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def limited_protocol(limits: LimitsSection) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 with limits on connections, and on how long the head of a request may take."""
    connections = ConnectionLimit(limits.connections, limits.connections_per_address)

    class LimitedProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._address = self.client[0] if self.client else ""
            self._head_due: asyncio.TimerHandle | None = None
            if not connections.enter(self._address):
                self.app = _too_many
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.leave(self._address)
            self._head_came()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._head_due is None and not self._is_answering:
                self._expect_head()  # the first byte after idling: uvicorn has no clock for what follows it
            super().data_received(data)

        def handle_events(self) -> None:
            super().handle_events()
            if self._is_answering:
                self._head_came()

        @property
        def _is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _expect_head(self) -> None:
            self._head_due = self.loop.call_later(limits.header_seconds, self.transport.abort)

        def _head_came(self) -> None:
            if self._head_due is not None:
                self._head_due.cancel()
                self._head_due = None

    return LimitedProtocol


async def _too_many(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


class _Loop(asyncio.SelectorEventLoop):
    """Bounds the TLS handshake, which uvicorn leaves at a minute."""

    handshake_seconds = 10.0

    async def create_server(self, *arguments: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = self.handshake_seconds
        return await super().create_server(*arguments, **options)


async def serve_front(settings: FrontSettings, listener: socket.socket) -> None:
    """Serves until SIGTERM; SIGHUP reads the certificate again."""
    front = Front(settings.fleet_socket, settings.limits)
    context = tls_context(settings.certificate, settings.key)
    config = uvicorn.Config(
        front,
        http=limited_protocol(settings.limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=settings.limits.header_bytes,
        timeout_keep_alive=int(settings.limits.idle_seconds),
        timeout_graceful_shutdown=3,
    )
    config.load()
    config.ssl = context

    def reload() -> None:
        try:
            tls_context(settings.certificate, settings.key)  # a pair that does not match would break the one in use
            context.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as error:
            log.error("%s: the new certificate cannot be used, the old one stays (%s)", settings.certificate, error)
        else:
            log.info("%s: read again, new connections are shown it", settings.certificate)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    log.info("the front serves %s:%d", *listener.getsockname()[:2])
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        await front.close()


def main() -> None:
    """Entry point of the process."""
    settings = from_json(FrontSettings, read_stream(sys.stdin.buffer, LINE.longest))
    die_with(settings.supervisor)
    set_up_logs(settings.log)
    _Loop.handshake_seconds = settings.limits.header_seconds
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(serve_front(settings, socket.socket(fileno=settings.listener)))


if __name__ == "__main__":
    main()
