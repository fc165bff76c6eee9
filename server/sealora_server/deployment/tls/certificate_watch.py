"""Sees that a certificate was replaced, and says early that one is about to expire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sealora_common.errors import SealoraError
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.tls.certificates import CertificateStatus, check_certificate

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_REMIND_SECONDS = 86_400.0


class CertificateWatch:
    """Knows the state of the server's certificates.

    Args:
        server: the server's directory.
        replaced: called when the certificate or its key is another than before, and the new pair is in order.
        clock: the time (UTC).

    Raises:
        DeploymentError: the certificates cannot be used now.
    """

    def __init__(
        self,
        server: ServerDirectory,
        replaced: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._server = server
        self._clock = clock
        self._replaced = replaced
        self._seen = self._signature()
        self._told: tuple[str, ...] = ()
        self._reminded = -_REMIND_SECONDS
        self.statuses = self._check()

    @property
    def expires(self) -> datetime:
        """When the first of them expires (UTC)."""
        return min(status.expires for status in self.statuses)

    @property
    def expired(self) -> tuple[str, ...]:
        """A sentence for each certificate that is in use and has expired: no site connects any more."""
        now = self._clock()
        return tuple(
            f"{status.path} expired on {status.expires:%Y-%m-%d at %H:%M} UTC, so sites refuse this server: renew it "
            "(`sealora server certificate renew`)"
            for status in self.statuses
            if status.days_left(now) <= 0
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each certificate that has expired, or expires soon."""
        now, soon = self._clock(), self._server.config.tls.warn_days
        return self.expired + tuple(
            f"{status.path} expires in {status.days_left(now):.0f} days, on {status.expires:%Y-%m-%d}: renew it "
            "(`sealora server certificate renew`)"
            for status in self.statuses
            if 0 < status.days_left(now) < soon
        )

    async def watch(self) -> None:
        """Looks at the files and at the clock from time to time, until this is cancelled."""
        while True:
            self.remind()
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def remind(self) -> None:
        """Says in the log what is to be said of the certificates: when one expires, and once a day."""
        expired = self.expired
        if expired == self._told and time.monotonic() - self._reminded < _REMIND_SECONDS:
            return
        self._told, self._reminded = expired, time.monotonic()
        for warning in self.warnings:
            log.log(logging.ERROR if warning in expired else logging.WARNING, "%s", warning)

    def look(self) -> None:
        """Takes a replaced certificate into use; one that is not in order is reported once, and the old one stays."""
        seen = self._signature()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.statuses = self._check()
        except SealoraError as error:
            log.error("%s; the old certificate stays in use", error)
        else:
            self._replaced()

    def _check(self) -> list[CertificateStatus]:
        server = self._server
        return check_certificate(server.certificate, server.key, server.config.hosts, server.ca, self._clock())

    def _signature(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in (self._server.certificate, self._server.key))


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
