"""The state of the connection to the server: kept for the probes, and told in the log once a change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sealora_client.fleet.errors import LostConnectionError, SessionRefusedError
from sealora_common.health.status import Health

PART = "server"
"""Name of the connection among the parts of a site's health."""

_BUSY_SECONDS = 90.0
"""So long a session of this site's own that ended without a goodbye does not last."""

log = logging.getLogger(__name__)


class Link:
    """Whether the server is there. Safe to use from several threads.

    Attributes:
        busy: whether the loop is at work on a message and therefore silent; the heartbeats then speak for the link.
    """

    def __init__(self, server: str, health: Health, clock: Callable[[], float] = time.monotonic) -> None:
        self.busy = False
        self._clock = clock
        self._server = server
        self._health = health
        self._lock = threading.Lock()
        self._state: str | None = None
        self._since = self._clock()
        self._told_taken = False

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
            former, waited = self._change(state)
            is_taken = state == "busy" == former and not self._told_taken and waited > _BUSY_SECONDS
            self._told_taken = is_taken or (self._told_taken and state == "busy")
        if is_taken:
            log.error(
                "for %.0f s the server has held a session of this site that is not this process's: another one runs "
                "with this site's keys, in a copy of this directory for example: stop that one, or this one",
                waited,
            )
        if former != state and state == "ended":
            log.info("%s", error)  # nothing is wrong, and nobody need act
        elif former != state:
            log.warning("%s; trying again until it works", error)
        self._health.report(PART, False, str(error))

    def _change(self, state: str) -> tuple[str | None, float]:
        """The former state, and the seconds since the connection was last there, or is busy (or since the start)."""
        former, waited = self._state, self._clock() - self._since
        if former != state:
            self._state = state
            if "connected" in (former, state) or state == "busy":
                self._since = self._clock()
        return former, waited
