"""The server, as this site sees it: reachable, its certificate, TLS, its clock, and whether it knows this site."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from sealora_client.fleet.connection import FleetConnection, clock_ahead, clock_sentence
from sealora_client.fleet.errors import LostConnectionError, SessionRefusedError
from sealora_client.fleet.flower import CLOCK_AHEAD_SECONDS, CLOCK_BEHIND_SECONDS
from sealora_common.config import SMALL, read_file
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_common.network.bounded_http import AnswerBounds, BoundedClient
from sealora_common.network.proxy import Proxy, ProxyError, proxy_for
from sealora_common.network.tls import client_context
from sealora_common.network.tls_handshake import Agreed, HandshakeWatch

EARLY = timedelta(days=30)
"""So long before a certificate ends it is said."""
_SECONDS = 10.0
_BOUNDS = AnswerBounds(2 * _SECONDS, 1 << 20)


def check_server(server: str, ca: Path | None, key: EllipticCurvePrivateKey | None) -> Iterator[Finding]:
    """Connects to the server. Nothing changes there, and a site that is at work is not disturbed.

    Args:
        server: the address of its front.
        ca: PEM file of the authority that is trusted; None for the system's.
        key: this node's; without it the server is not asked whether it knows this site.
    """
    if ca is not None:
        yield from _on_authority(ca)
    try:
        proxy = proxy_for(server)
        connection = FleetConnection(server, key, ca) if key is not None else None
        response, shown, seconds = _ask(server, ca, proxy)
    except ProxyError as error:
        yield failed("server", str(error))
        return
    except StorageError as error:
        yield failed("certificate", str(error))
        return
    except httpx.HTTPError as error:
        said = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in said:
            reason = said.partition("CERTIFICATE_VERIFY_FAILED] ")[2].partition(" (_ssl")[0]
            yield failed(
                "certificate",
                f"the server's does not hold ({reason}): ask its operator whether it was replaced, and for the CA "
                "certificate if so; check the address in site.yaml",
            )
        else:
            yield failed(
                "server",
                f"{server} cannot be reached{'' if proxy is None else f' through {proxy}'} "
                f"({said or type(error).__name__}): check the address in site.yaml, the network and its firewall, and "
                "that the server runs",
            )
        return
    through = "" if proxy is None else f", through {proxy}"
    yield passed("server", f"{server} answers in {1000 * seconds:.0f} ms{through}")
    if shown is not None:
        yield _on_certificate(shown.certificate)
        yield passed("tls", shown.agreed.sentence())
    ahead = clock_ahead(response)
    yield _on_clock(ahead)
    if connection is not None:
        yield _on_key(connection)
        connection.close()


@dataclass(frozen=True)
class _Shown:
    """What the server showed while it was connected to."""

    certificate: x509.Certificate
    agreed: Agreed


def _ask(server: str, ca: Path | None, proxy: Proxy | None) -> tuple[httpx.Response, _Shown | None, float]:
    """Any answer of the front, whatever it says; what it showed over TLS; and how long it took once connected."""
    plain = server.startswith("http://")
    context = client_context(None if plain else ca)
    watch = HandshakeWatch(context)
    client = BoundedClient(lambda _: _BOUNDS, verify=context, proxy=proxy, timeout=_SECONDS)
    with client:
        with client.stream("GET", f"{server}/") as response:
            tls = response.extensions["network_stream"].get_extra_info("ssl_object")
            shown = None
            if tls is not None:
                shown = _Shown(x509.load_der_x509_certificate(tls.getpeercert(True)), watch.agreed(tls))
        started = time.monotonic()
        with client.stream("GET", f"{server}/") as response:
            return response, shown, time.monotonic() - started


def _on_authority(ca: Path) -> Iterator[Finding]:
    try:
        certificates = x509.load_pem_x509_certificates(read_file(ca, SMALL.longest))
    except (OSError, UnreadableError, ValueError):
        return  # said when it is used
    ends = min(certificate.not_valid_after_utc for certificate in certificates)
    if ends - datetime.now(UTC) < EARLY:
        yield warned(
            "certificate",
            f"the CA certificate {ca.name} ends on {ends:%Y-%m-%d}: ask the server's operator for the next",
        )


def _on_certificate(certificate: x509.Certificate) -> Finding:
    ends = certificate.not_valid_after_utc
    left = ends - datetime.now(UTC)
    if left < EARLY:
        return warned(
            "certificate", f"the server's ends on {ends:%Y-%m-%d}, in {left.days} days: remind its operator to renew it"
        )
    return passed("certificate", f"the server's is valid until {ends:%Y-%m-%d}")


def _on_clock(ahead: float | None) -> Finding:
    if ahead is None:
        return warned("clock", "the server's answer has no date to compare with: check this machine's clock by hand")
    if not -CLOCK_BEHIND_SECONDS < ahead < CLOCK_AHEAD_SECONDS:
        return failed("clock", clock_sentence(ahead))
    if abs(ahead) > CLOCK_AHEAD_SECONDS / 2:
        return warned("clock", f"it is {abs(ahead):.0f} s off the server's: keep it set by NTP")
    return passed("clock", f"within {max(1.0, abs(ahead)):.0f} s of the server's")


def _on_key(connection: FleetConnection) -> Finding:
    try:
        known = connection.probe().known
    except (LostConnectionError, SessionRefusedError) as error:
        return failed("node key", str(error))
    if connection.server.startswith("http://") or known:
        return passed("node key", "the server knows it" if known else "the server takes any")
    return failed(
        "node key",
        "the server does not know it: have the coordinator add this site's card to the roster, and the server's "
        "operator take the roster in",
    )
