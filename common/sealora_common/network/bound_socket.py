"""A TCP socket at an address of this machine, taken before anything is said to come of it."""

from __future__ import annotations

import socket

from sealora_common.errors import StorageError


def bound_socket(host: str, port: int) -> socket.socket:
    """Bound and not listening yet; port 0 takes a free one.

    Raises:
        StorageError: the address is none of this machine's, or is taken.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # a label that is too long is no host's
        why = getattr(error, "strerror", None) or "no host's name"
        raise StorageError(f"{address}: cannot listen there ({why}): choose another address") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except OSError as error:
        bound.close()
        raise StorageError(
            f"{address}: cannot listen there ({error.strerror}): choose another address or stop what uses it"
        ) from None
    return bound
