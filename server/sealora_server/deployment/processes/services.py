"""How the SuperLink, the front and the dashboard are started."""

from __future__ import annotations

import os
import socket

from sealora_server.dashboard.settings import DashboardProcessSettings
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.front.embedded import FrontSettings
from sealora_server.deployment.front.nginx import prepare_nginx
from sealora_server.deployment.processes.process import ProcessSpec
from sealora_server.deployment.superlink.process import SuperLinkSettings

# Flower's own name for it (flwr.supercore.constant.FLWR_IN_MEMORY_DB_NAME; a test holds the two together).
_IN_MEMORY = ":flwr-in-memory:"


def superlink_spec(
    server: ServerDirectory, listener: socket.socket, fleet_listener: socket.socket, secret: bytes
) -> ProcessSpec:
    """The SuperLink, on these two listening Unix sockets.

    Args:
        server: the server's directory.
        listener: serves everything.
        fleet_listener: serves what sites need.
        secret: signs the requests for a ServerApp's token; 32 bytes.
    """
    on_disk = server.config.superlink_state == "sqlite"
    settings = SuperLinkSettings(
        supervisor=os.getpid(),
        database=str(server.state / "superlink.sqlite") if on_disk else _IN_MEMORY,
        superexec_secret=secret.hex(),
        superlink_socket=listener.fileno(),
        fleet_socket=fleet_listener.fileno(),
        limits=server.config.limits,
        log=server.config.log,
    )
    return ProcessSpec(
        name="superlink",
        module="sealora_server.deployment.superlink.process",
        settings=lambda: settings,
        descriptors=(listener.fileno(), fleet_listener.fileno()),
        environment={"FLWR_HOME": str(server.state / "flower")},
        directory=server.state,
    )


def front_spec(server: ServerDirectory, listener: socket.socket | None) -> ProcessSpec:
    """The front: the embedded one on `listener`, or nginx, which listens itself, without one.

    Raises:
        DeploymentError: nginx is wanted and cannot be used.
        StorageError: its configuration could not be written.
    """
    if listener is None:
        nginx = prepare_nginx(server)
        return ProcessSpec(
            name="front",
            module="sealora_server.deployment.front.nginx",
            settings=lambda: nginx,
            directory=server.state,
            has_children=True,
        )
    embedded = FrontSettings(
        supervisor=os.getpid(),
        listener=listener.fileno(),
        fleet_socket=server.fleet_socket,
        certificate=server.certificate,
        key=server.key,
        limits=server.config.limits,
        log=server.config.log,
    )
    return ProcessSpec(
        name="front",
        module="sealora_server.deployment.front.embedded",
        settings=lambda: embedded,
        descriptors=(listener.fileno(),),
        directory=server.state,
    )


def dashboard_spec(server: ServerDirectory, listener: socket.socket, secret: str) -> ProcessSpec:
    """The operator's dashboard, on this listening socket; by `secret` it may speak for those who log in there."""
    settings = DashboardProcessSettings(
        supervisor=os.getpid(),
        config_file=server.config_file.absolute(),
        listener=listener.fileno(),
        secret=secret,
    )
    return ProcessSpec(
        name="dashboard",
        module="sealora_server.dashboard.serving",
        settings=lambda: settings,
        descriptors=(listener.fileno(),),
        directory=server.state,
    )
