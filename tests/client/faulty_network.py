"""A network between a site and its server that a test can cut: a TCP proxy."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType
from typing import Literal

Cut = Literal["silent", "refused"]


class FaultyNetwork:
    """Forwards connections to `port` of this machine while it is entered and not cut.

    Attributes:
        address: where to connect instead.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._cut: Cut | None = None
        self._wanted: Cut | None = None
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FaultyNetwork:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join(timeout=5)
        for each in [*self._peers, self._listening]:
            each.close()

    def cut(self, how: Cut) -> None:
        """`silent`: nothing passes any more, and connections stay. `refused`: all are closed, and new ones refused."""
        self._wanted = how

    def mend(self) -> None:
        """Forwards again; what waits in silent connections passes now."""
        self._wanted = None

    def _run(self) -> None:
        self._selector.register(self._listening, selectors.EVENT_READ)
        while not self._over:
            self._cut = self._wanted
            if self._cut == "silent":
                threading.Event().wait(0.01)
                continue
            if self._cut == "refused":
                for each in list(self._peers):
                    self._close(each)
            for key, _ in self._selector.select(0.01):
                self._ready(key.fileobj)  # type: ignore[arg-type]

    def _ready(self, ready: socket.socket) -> None:
        if ready is self._listening:
            near, _ = self._listening.accept()
            if self._cut == "refused":
                near.close()
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                return
            self._peers |= {near: far, far: near}
            for each in (near, far):
                self._selector.register(each, selectors.EVENT_READ)
        elif ready in self._peers:
            try:
                data = ready.recv(1 << 16)
                if data:
                    self._peers[ready].sendall(data)
            except OSError:
                data = b""
            if not data:
                self._close(ready)

    def _close(self, one: socket.socket) -> None:
        if one in self._peers:
            other = self._peers.pop(one)
            self._peers.pop(other, None)
            for each in (one, other):
                self._selector.unregister(each)
                each.close()
