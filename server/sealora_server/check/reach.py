"""Whether sites can reach the server: its port, and its names as they are found from this machine."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_common.network.address import host_and_port
from sealora_common.network.tls import client_context
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.processes.sockets import listen_tcp

_SECONDS = 5.0


def check_port(server: ServerDirectory) -> Iterator[Finding]:
    """Whether a server that does not run could listen where it is to."""
    if server.config.front != "embedded":
        yield passed("port", f"{server.config.listen} is for {server.config.front} to open")
        return
    try:
        listen_tcp(server.config.listen).close()
    except (DeploymentError, OSError) as error:
        yield failed("port", f"{error}")
    else:
        yield passed("port", f"{server.config.listen} is free")


def check_reach(server: ServerDirectory, address: str | None) -> Iterator[Finding]:
    """Connects to the running server by each of its names, as a site does: with TLS and the authority that sites pin.

    Args:
        server: the directory.
        address: where its front listens; None where that is the operator's own.
    """
    _, port = host_and_port(address or server.config.listen)
    context = client_context(server.ca)
    for host in server.config.hosts:
        try:
            with (
                socket.create_connection((host, port), timeout=_SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=host) as tls,
            ):
                yield passed("reach", f"{host}:{port} answers ({tls.version()})")
        except ssl.SSLCertVerificationError as error:
            yield failed(
                "reach",
                f"{host}:{port}: sites would refuse its certificate ({error.verify_message}): correct `hosts`",
            )
        except socket.gaierror:
            yield failed("reach", f"{host}: no such name is known here: correct `hosts`, or the name in your DNS")
        except OSError as error:
            yield warned(
                "reach",
                f"{host}:{port} does not answer from here ({error.strerror or type(error).__name__}): look at "
                "firewall, load balancer and routing, or have a site run `sealora-site check`",
            )
