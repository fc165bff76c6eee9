"""The certificate that sites are shown: its key, its names, its dates and its authority."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sealora_common.errors import SealoraError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.tls.certificates import check_certificate


def check_served_certificate(server: ServerDirectory) -> Iterator[Finding]:
    """What is wrong with it; nothing of this is looked at where the front is the operator's own."""
    if server.config.front == "none":
        yield passed("certificate", "is your own front's to check")
        return
    now = datetime.now(UTC)
    try:
        statuses = check_certificate(server.certificate, server.key, server.config.hosts, server.ca, now)
    except SealoraError as error:
        yield failed("certificate", str(error))
        return
    early = timedelta(days=server.config.tls.warn_days)
    ending = [status for status in statuses if status.expires - now < early]
    for status in ending:
        what = "renew it (`sealora server certificate renew`)"
        if status.path == server.ca:
            what = "make a new authority with `sealora server init` elsewhere and hand its ca.pem to every site in time"
        yield warned("certificate", f"{status.path} ends on {status.expires:%Y-%m-%d}: {what}")
    if not ending:
        hosts = ", ".join(server.config.hosts)
        yield passed("certificate", f"for {hosts}, until {statuses[0].expires:%Y-%m-%d}")
