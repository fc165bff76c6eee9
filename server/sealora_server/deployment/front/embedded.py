"""The embedded front's process: uvicorn with TLS and with the limits that it lacks."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import BaseModel, ConfigDict
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealora_common.config import LINE, from_json, read_stream
from sealora_common.health.logs import LogFormat, set_up_logs
from sealora_common.network.tls import server_context
from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.front.accepting import Accepting
from sealora_server.deployment.front.passing import SLOT, Front
from sealora_server.deployment.front.rules import ConnectionLimit, Slot
from sealora_server.deployment.processes.process import die_with

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


def limited_protocol(limits: LimitsSection, connections: ConnectionLimit) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 with a limit on how long the head of a request may take, and with nothing left behind."""

    class LimitedProtocol(H11Protocol):
        slot: Slot | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._head_due: asyncio.TimerHandle | None = None
            if self.slot is not None:
                self.slot.close = transport.abort
                if self.slot.has_left:  # driven out in the last step of the handshake
                    transport.abort()
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.leave(self.slot)
            self._head_came()
            # uvicorn does so only where the connection ended properly: one that ended by RST would hold its TLS state
            # for as long as an idle one may last.
            self._unset_keepalive_if_required()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._head_due is None and not self._is_answering:
                self._expect_head()  # the first byte after idling: uvicorn has no clock for what follows it
            super().data_received(data)

        def handle_events(self) -> None:
            super().handle_events()
            if self._is_answering:
                self._head_came()
                self.cycle.scope["state"][SLOT] = self.slot

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


class _Loop(asyncio.SelectorEventLoop):
    """Has connections counted before their handshake, which asyncio's own server leaves at a minute besides."""

    def __init__(self, limits: LimitsSection, connections: ConnectionLimit) -> None:
        super().__init__()
        self._limits = limits
        self._connections = connections

    async def create_server(self, protocol_factory: Any, *arguments: Any, **options: Any) -> Any:
        context = options.get("ssl")
        if context is None:
            return await super().create_server(protocol_factory, *arguments, **options)
        return Accepting(options["sock"], protocol_factory, context, self._connections, self._limits.header_seconds)


async def serve_front(settings: FrontSettings, listener: socket.socket, connections: ConnectionLimit) -> None:
    """Serves until SIGTERM; SIGHUP reads the certificate again."""
    front = Front(settings.fleet_socket, settings.limits, connections)
    context = server_context(settings.certificate, settings.key)
    config = uvicorn.Config(
        front,
        http=limited_protocol(settings.limits, connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=settings.limits.header_bytes,
        timeout_keep_alive=int(settings.limits.idle_seconds),
        timeout_graceful_shutdown=1,  # questions are held longer than anybody would wait
    )
    config.load()
    config.ssl = context

    def reload() -> None:
        try:
            server_context(settings.certificate, settings.key)  # a pair that does not match would break the one in use
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
    if importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment] # httpcore looks for it on the disk at every request
    settings = from_json(FrontSettings, read_stream(sys.stdin.buffer, LINE.longest))
    die_with(settings.supervisor)
    set_up_logs(settings.log)
    limits = settings.limits
    connections = ConnectionLimit(limits.connections, limits.connections_per_address, limits.connections_per_second)
    with asyncio.Runner(loop_factory=lambda: _Loop(limits, connections)) as runner:
        runner.run(serve_front(settings, socket.socket(fileno=settings.listener), connections))


if __name__ == "__main__":
    main()
