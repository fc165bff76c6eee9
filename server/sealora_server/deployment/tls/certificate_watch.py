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

    Raises:
        DeploymentError: the certificates cannot be used now.
    """

    def __init__(self, server: ServerDirectory, replaced: Callable[[], None]) -> None:
        self._server = server
        self._replaced = replaced
        self._seen = self._signature()
        self.statuses = self._check()

    @property
    def expires(self) -> datetime:
        """When the first of them expires (UTC)."""
        return min(status.expires for status in self.statuses)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each certificate that expires soon."""
        now, soon = datetime.now(UTC), self._server.config.tls.warn_days
        return tuple(
            f"{status.path} expires in {max(0.0, status.days_left(now)):.0f} days, on {status.expires:%Y-%m-%d}: "
            "renew it (`sealora server certificate renew`)"
            for status in self.statuses
            if status.days_left(now) < soon
        )

    async def watch(self) -> None:
        """Looks at the files from time to time, until this is cancelled."""
        reminded = -_REMIND_SECONDS
        while True:
            if time.monotonic() - reminded >= _REMIND_SECONDS:
                reminded = time.monotonic()
                for warning in self.warnings:
                    log.warning("%s", warning)
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

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
        return check_certificate(server.certificate, server.key, server.config.hosts, server.ca, datetime.now(UTC))

    def _signature(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in (self._server.certificate, self._server.key))


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
