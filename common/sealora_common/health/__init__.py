"""How a running server or site tells its operator how it is: HTTP and gRPC probes, Prometheus metrics, logs.

    health = Health("server connection")
    with HealthServer("127.0.0.1:9180", health, registry), GrpcHealthServer("127.0.0.1:9181", health):
        health.report("server connection", True, "connected")

    GET /healthz  200 as long as the process does its work, 503 once it cannot: what a restart would mend
    GET /readyz   200 when every part is well, 503 with what is not: what waiting or an operator must mend
    GET /metrics  Prometheus' text format

The servers need packages of the extra `server` or `site` (Starlette, uvicorn, prometheus-client,
grpcio-health-checking), which are imported when a server is made.
"""

from sealora_common.health.grpc_server import GrpcHealthServer
from sealora_common.health.http_server import HealthServer, health_app
from sealora_common.health.status import Health, PartStatus

__all__ = ["GrpcHealthServer", "Health", "HealthServer", "PartStatus", "health_app"]
