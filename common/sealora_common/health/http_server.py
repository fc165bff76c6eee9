"""`/healthz`, `/readyz` and `/metrics` over HTTP, in a thread beside the work."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from sealora_common.errors import StorageError
from sealora_common.health.status import Health
from sealora_common.network.address import host_and_port
from sealora_common.network.bound_socket import bound_socket

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_START_SECONDS = 10.0


def health_app(health: Health, registry: CollectorRegistry) -> Starlette:
    """The three paths as a Starlette application, to be served alone or mounted in a larger one."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    def told(status_code: int) -> Response:
        return Response(health.state.to_json(), status_code=status_code, media_type="application/json")

    async def healthz(_: Request) -> Response:
        return told(200 if health.alive else 503)

    async def readyz(_: Request) -> Response:
        return told(200 if health.ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)])


class HealthServer:
    """Serves `health_app` from a thread of its own while it is entered as a context manager.

    Args:
        address: `host:port`; port 0 takes a free one.
        health: what is told.
        registry: the metrics that are told.

    Attributes:
        address: (host, port) in use, once entered.
    """

    def __init__(self, address: str, health: Health, registry: CollectorRegistry) -> None:
        import uvicorn

        self._named = address
        config = uvicorn.Config(
            health_app(health, registry), log_config=None, access_log=False, lifespan="off", server_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._socket: socket.socket | None = None
        self.address = ("", 0)

    def __enter__(self) -> HealthServer:
        """Starts serving.

        Raises:
            StorageError: the address is none or is taken.
        """
        self._socket = _listen(self._named)
        self.address = self._socket.getsockname()[:2]
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=_START_SECONDS)
        if self._socket is not None:
            self._socket.close()

    def _run(self) -> None:
        assert self._socket is not None  # noqa: S101 (set before the thread starts)
        self._server.run(sockets=[self._socket])


def listening_place(address: str) -> tuple[str, int]:
    """Host and port of a probe's address.

    Raises:
        StorageError: it is none.
    """
    try:
        return host_and_port(address)
    except ValueError:
        raise StorageError(f"{address!r} is no address: write host:port, for example 127.0.0.1:9180") from None


def _listen(address: str) -> socket.socket:
    bound = bound_socket(*listening_place(address))
    bound.listen(16)
    return bound
