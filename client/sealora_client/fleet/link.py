"""The state of the connection to the server: kept for the probes, and told in the log once a change."""

from __future__ import annotations

import logging
import threading
import time

from sealora_client.fleet.errors import LostConnectionError, SessionRefusedError
from sealora_common.health.status import Health

PART = "server"
"""Name of the connection among the parts of a site's health."""

log = logging.getLogger(__name__)


class Link:
    """Whether the server is there. Safe to use from several threads.

    Attributes:
        busy: whether the loop is at work on a message and therefore silent; the heartbeats then speak for the link.
    """

    def __init__(self, server: str, health: Health) -> None:
        self.busy = False
        self._server = server
        self._health = health
        self._lock = threading.Lock()
        self._state: str | None = None
        self._since = time.monotonic()

    @property
    def connected(self) -> bool:
        """Whether the last exchange with the server went well."""
        return self._state == "connected"

    def well(self) -> None:
        """An exchange went well."""
        with self._lock:
            former, waited = self._change("connected")
        if former == "connected":
            return
        after = f" again, after {waited:.0f} s" if former is not None else ""
        log.info("connected to %s%s", self._server, after)
        self._health.report(PART, True, "connected")

    def trouble(self, error: LostConnectionError | SessionRefusedError) -> None:
        """An exchange went wrong."""
        state = error.reason if isinstance(error, SessionRefusedError) else "lost"
        with self._lock:
            former, _ = self._change(state)
        if former != state and state == "ended":
            log.info("%s", error)  # nothing is wrong, and nobody need act
        elif former != state:
            log.warning("%s; trying again until it works", error)
        self._health.report(PART, False, str(error))

    def _change(self, state: str) -> tuple[str | None, float]:
        """The former state, and the seconds since the connection was last there (or since the start)."""
        former, waited = self._state, time.monotonic() - self._since
        if former != state:
            self._state = state
            if former == "connected" or state == "connected":
                self._since = time.monotonic()
        return former, waited
