"""Heartbeats: they tell the server that this site is there, also while it trains for hours."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from sealora_client.fleet.errors import LostConnectionError, SessionRefusedError
from sealora_client.fleet.link import Link

_SECONDS = 10.0
ANNOUNCED_SECONDS = 30.0
"""The interval that is announced to the server. A session lasts twice as long beyond the last heartbeat. Announcing
more than is kept to lets a session outlast a network that is cut for half a minute; announcing still more would keep
the server waiting for a site that died."""


log = logging.getLogger(__name__)


class Heartbeat:
    """Calls `beat` from a thread of its own, every ten seconds, while it is entered as a context manager."""

    def __init__(self, beat: Callable[[], None], link: Link, seconds: float = _SECONDS) -> None:
        self._beat = beat
        self._link = link
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=self._seconds)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._beat()
            except (LostConnectionError, SessionRefusedError) as error:
                if self._link.busy:
                    self._link.trouble(error)
            except Exception:  # a fault here must not cost the session of hours of training
                log.exception("a heartbeat failed")
            else:
                if self._link.busy:
                    self._link.well()
