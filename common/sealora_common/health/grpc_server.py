"""The standard gRPC health service (grpc.health.v1), in threads beside the work."""

from __future__ import annotations

from concurrent import futures
from types import TracebackType

from sealora_common.errors import StorageError
from sealora_common.health.http_server import listening_place
from sealora_common.health.status import Health

ALIVE = "alive"
"""Service name whose status is that of `/healthz`; the empty name, the whole process, is that of `/readyz`."""


class GrpcHealthServer:
    """Answers `Check` and `Watch` while it is entered as a context manager.

    Args:
        address: `host:port`; port 0 takes a free one.
        health: what is told.

    Attributes:
        address: (host, port) in use, once entered.
    """

    def __init__(self, address: str, health: Health) -> None:
        import grpc
        from grpc_health.v1 import health_pb2_grpc
        from grpc_health.v1.health import HealthServicer

        self._named = address
        self._health = health
        self._servicer = HealthServicer(experimental_non_blocking=True)
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=2, thread_name_prefix="grpc-health"))
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        self.address = ("", 0)

    def __enter__(self) -> GrpcHealthServer:
        """Starts serving.

        Raises:
            StorageError: the address is none or is taken.
        """
        host, _ = listening_place(self._named)
        try:
            port = self._server.add_insecure_port(self._named)
        except RuntimeError:
            port = 0
        if port == 0:
            raise StorageError(f"{self._named}: cannot listen there: choose another address or stop what uses it")
        self.address = (host, port)
        self._health.watch(self._update)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._servicer.enter_graceful_shutdown()
        self._server.stop(grace=1.0).wait(timeout=2.0)

    def _update(self) -> None:
        from grpc_health.v1 import health_pb2

        status = health_pb2.HealthCheckResponse
        for service, well in (("", self._health.ready), (ALIVE, self._health.alive)):
            self._servicer.set(service, status.SERVING if well else status.NOT_SERVING)
