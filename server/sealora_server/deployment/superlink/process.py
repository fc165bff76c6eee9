"""The SuperLink process: Flower's own application, on two Unix sockets instead of a port.

Flower's Control API asks nobody who they are, and its Runtime API hands its tokens to processes on their command
lines. On a loopback port both would be open to every account of the machine. Here the file system says who may
connect; SuperExec authentication and node authentication stay on besides.
"""

from __future__ import annotations

import logging
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette

from sealora_common.config import LINE, from_json, read_stream
from sealora_common.health.logs import LogFormat, set_up_logs
from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.processes.process import die_with
from sealora_server.deployment.superlink.gate import Gate

log = logging.getLogger(__name__)


class SuperLinkSettings(BaseModel):
    """What the supervisor tells this process on its standard input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    supervisor: int
    """Process id."""
    database: str
    """SQLite file, or Flower's name for none."""
    superexec_secret: str
    """Hex; signs the requests for a ServerApp's token."""
    superlink_socket: int
    """Descriptor of the listening socket that serves everything."""
    fleet_socket: int
    """Descriptor of the one that serves what sites need."""
    limits: LimitsSection
    log: LogFormat


def superlink_app(settings: SuperLinkSettings) -> Starlette:
    """Flower's SuperLink with node authentication and SuperExec authentication on, and telemetry off."""
    from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
    from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
    from flwr.superlink.config_loader import SuperLinkLifespanConfig
    from flwr.superlink.main import create_app

    # What `flower-superlink` makes of its arguments. It insists on TLS for node authentication, for a port's sake.
    config = SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host="",
        port=0,
        insecure=True,
        certificates=None,
        superexec_auth_secret=bytes.fromhex(settings.superexec_secret),
        authn_plugin=NoOpControlAuthnPlugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type="grpc-rere",
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=None,
        ssl_certfile=None,
        ssl_keyfile=None,
        database=settings.database,
        isolation="process",
        runtime_dependency_install=False,
    )
    return create_app(config, SuperLinkLifespan)


def gated(superlink: Starlette, trusted_socket: str, limits: LimitsSection) -> Gate:
    """The SuperLink behind its gate; all it offers is served on the socket at `trusted_socket` alone."""
    return Gate(superlink, superlink.state.linkstate_factory.state(), trusted_socket, limits)


class _Server(uvicorn.Server):
    """Lets go of the questions that are held as soon as it is told to stop."""

    def __init__(self, config: uvicorn.Config, gate: Gate) -> None:
        super().__init__(config)
        self._gate = gate

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gate.close()
        super().handle_exit(sig, frame)


def main() -> None:
    """Serves until it is told to stop, or the supervisor dies."""
    settings = from_json(SuperLinkSettings, read_stream(sys.stdin.buffer, LINE.longest))
    die_with(settings.supervisor)
    app = superlink_app(settings)
    set_up_logs(settings.log)
    listeners = [socket.socket(fileno=number) for number in (settings.superlink_socket, settings.fleet_socket)]
    gate = gated(app, listeners[0].getsockname(), settings.limits)
    options: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False, "date_header": False}
    # asyncio's own loop: over uvloop a connection does not tell by which Unix socket it came.
    config = uvicorn.Config(
        gate, loop="asyncio", ws="none", timeout_graceful_shutdown=3, proxy_headers=False, **options
    )
    log.info("the SuperLink serves %s", listeners[0].getsockname())
    _Server(config, gate).run(sockets=listeners)


if __name__ == "__main__":
    main()
