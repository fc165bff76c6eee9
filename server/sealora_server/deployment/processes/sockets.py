"""Listening sockets, bound by the supervisor so that they outlive the processes that serve them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from sealora_common.errors import storage_error
from sealora_common.network.address import host_and_port
from sealora_server.deployment.errors import DeploymentError

_BACKLOG = 512


def listen_unix(path: Path) -> socket.socket:
    """A listening Unix socket at `path` that only this account can connect to, in place of one left there.

    Raises:
        StorageError: it could not be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Whoever may write to the socket may connect (unix(7)); the mode must be right from the first moment.
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise storage_error(path, error) from error
    finally:
        os.umask(before)
    return listener


def listen_tcp(address: str) -> socket.socket:
    """A listening TCP socket at `address` (`host:port`).

    Raises:
        DeploymentError: the address is taken, or is none of this machine.
    """
    host, port = host_and_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise DeploymentError(
            f"{address}: cannot listen there ({error.strerror or error}): stop what uses it, or set another `listen`"
        ) from None
    return listener


def shown_address(listener: socket.socket) -> str:
    """`host:port` that a TCP socket listens on."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
