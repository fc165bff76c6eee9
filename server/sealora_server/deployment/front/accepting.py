"""Takes connections in, counted from the moment they are accepted, whether or not TLS ever comes about."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from sealora_server.deployment.front.rules import ConnectionLimit, Slot

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.1
# Closed so, a connection ends by RST and leaves nothing behind at this end.
_AT_ONCE = struct.pack("ii", 1, 0)


class Accepting:
    """A listening socket's connections, each handed to a protocol once TLS stands.

    `asyncio`'s own server tells nobody of a connection before its handshake is over, so that connections without one
    would be as many as there are descriptors.

    Args:
        listener: listens.
        factory: makes the protocol of a connection.
        context: TLS.
        limit: counts the connections.
        handshake_seconds: for TLS.
    """

    def __init__(
        self,
        listener: socket.socket,
        factory: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext,
        limit: ConnectionLimit,
        handshake_seconds: float,
    ) -> None:
        listener.setblocking(False)
        self.sockets = (listener,)
        self._listener = listener
        self._factory = factory
        self._context = context
        self._limit = limit
        self._seconds = handshake_seconds
        self._loop = asyncio.get_running_loop()
        self._shaking: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accepts no more, and gives up handshakes that are under way."""
        self._accepting.cancel()
        for task in self._shaking:
            task.cancel()
        self._listener.close()

    async def wait_closed(self) -> None:
        """Returns once that is done."""
        await asyncio.gather(self._accepting, *self._shaking, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(self._listener)
            except OSError as error:  # no descriptor is left, or the client has gone
                log.warning("a connection could not be accepted (%s)", error.strerror)
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            slot = self._limit.enter(str(address[0]), time.monotonic(), partial(_end, connection))
            if slot is None:
                _end(connection)
                connection.close()
                continue
            task = self._loop.create_task(self._shake_hands(connection, slot))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake_hands(self, connection: socket.socket, slot: Slot) -> None:
        def protocol() -> asyncio.BaseProtocol:
            made = self._factory()
            made.slot = slot  # type: ignore[attr-defined]
            return made

        try:
            await self._loop.connect_accepted_socket(
                protocol, connection, ssl=self._context, ssl_handshake_timeout=self._seconds
            )
            return
        except (OSError, asyncio.CancelledError):  # no TLS, not in time, or driven out
            pass
        except Exception:  # told here: nobody waits for this task
            log.exception("a fault of the front ended a handshake")
        self._limit.leave(slot)
        connection.close()


def _end(connection: socket.socket) -> None:
    """Ends a connection by RST. Whatever waits for it in this process is told by the kernel."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        connection.shutdown(socket.SHUT_RDWR)
