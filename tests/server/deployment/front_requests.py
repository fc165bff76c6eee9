"""Requests to a front with narrow limits, and what becomes of their connections."""

from __future__ import annotations

import contextlib
import socket
import ssl

from sealora_server.deployment.config import LimitsSection

PATH = "/v1/fleet/pull-messages"
BODY_BYTES = 2**20
LIMITS = LimitsSection(
    body_bytes=BODY_BYTES,
    header_bytes=4096,
    requests_per_second=100_000,
    request_burst=100_000,
    connections=200,
    connections_per_address=20,
    connections_per_second=10_000,
    header_seconds=60.0,
    body_seconds=60.0,
    idle_seconds=60.0,
    answer_seconds=60.0,
)
HASTY = LIMITS.model_copy(
    update={"header_seconds": 1.0, "body_seconds": 1.0, "idle_seconds": 2.0, "answer_seconds": 1.5}
)
"""For what is cut off: of a busy machine's own requests, too, some would be."""


def head(*lines: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def status_of(connection: socket.socket) -> int | None:
    """The status of the next answer; None where the connection ends without one."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(4096)
        if not chunk:
            return None
        received += chunk
    headers, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in headers.lower().splitlines() if b"content-length" in line), 0)
    while len(body) < length:
        body += connection.recv(4096)
    return int(headers.split()[1])


def closed_within(connection: socket.socket, seconds: float) -> bool:
    """Whether the other side ends the connection within so long."""
    connection.settimeout(max(seconds, 0.001))
    try:
        while connection.recv(4096):
            pass
    except (TimeoutError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        with contextlib.suppress(OSError):
            connection.settimeout(10)
    return True
