"""A connection's place is free again whatever its handshake ends by."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from certificates import Authority
from sealora_common.network.tls import server_context
from sealora_server.deployment.front.accepting import Accepting
from sealora_server.deployment.front.rules import ConnectionLimit


def no_protocol() -> asyncio.BaseProtocol:
    raise RuntimeError("a fault of ours")


class Told(asyncio.Protocol):
    slot: object


@pytest.mark.parametrize(
    ("factory", "says", "told"),
    [
        (no_protocol, "hello", ["a fault of ours"]),
        (Told, "nonsense", []),
        (Told, "nothing", []),
    ],
)
def test_a_place_is_free_after_a_handshake_that_fails_and_a_fault_of_ours_is_told(
    tmp_path, caplog, factory: Callable[[], asyncio.BaseProtocol], says: str, told: list[str]
) -> None:
    authority = Authority(tmp_path)
    limit = ConnectionLimit(total=10, per_address=1, per_second=1000)

    async def serve() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        accepting = Accepting(listener, factory, server_context(*authority.issue()), limit, handshake_seconds=0.2)
        client = threading.Thread(target=speak, args=(listener.getsockname(), says, authority), daemon=True)
        client.start()
        deadline = time.monotonic() + 10
        while client.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        accepting.close()
        await accepting.wait_closed()

    asyncio.run(serve())
    assert limit.enter("127.0.0.1", time.monotonic(), lambda: None) is not None
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == told


def speak(address: tuple[str, int], says: str, authority: Authority) -> None:
    """Connects, and returns once the other end has closed the connection."""
    with suppress(OSError, ssl.SSLError), socket.create_connection(address, timeout=5) as plain:
        if says == "hello":
            context = ssl.create_default_context(cafile=str(authority.ca))
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                secured.recv(1)
        if says == "nonsense":
            plain.sendall(b"no TLS at all" * 100)
        while plain.recv(100):
            pass
