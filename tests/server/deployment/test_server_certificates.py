"""A real server whose certificate expires while it runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from running_server import make_server, running, said, status, until

from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.initialise import AUTHORITY_KEY, renew_certificate
from sealora_server.deployment.tls.certificates import load_certificates, load_private_key


def expire_in(server: ServerDirectory, seconds: float) -> None:
    """Gives the server's key a certificate of the same authority that is valid for so long."""
    former = load_certificates(server.certificate)[0]
    authority = load_pem_private_key((server.path / AUTHORITY_KEY).read_bytes(), None)
    builder = (
        x509.CertificateBuilder(former.issuer, former.subject, load_private_key(server.key).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(former.not_valid_before_utc)
        .not_valid_after(datetime.now(UTC) + timedelta(seconds=seconds))
    )
    for extension in former.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    pem = builder.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]
    server.certificate.write_bytes(pem)


@pytest.mark.slow
def test_a_server_whose_certificate_expires_says_so_and_is_not_ready_until_it_is_renewed(tmp_path):
    server, _ = make_server(tmp_path / "server")
    with running(server):
        health = status(server).health

        def ready() -> bool:
            return httpx.get(f"http://{health}/readyz", trust_env=False).status_code == 200

        until(ready, 20)
        expire_in(server, 8)
        until(lambda: not ready(), 30, lambda: said(server))
        assert (
            "expired on" in httpx.get(f"http://{health}/readyz", trust_env=False).json()["parts"]["certificate"]["said"]
        )
        assert any(f"{server.certificate} expired on" in warning for warning in status(server).warnings)
        until(lambda: f"ERROR   {server.certificate} expired on" in said(server), 10)
        renew_certificate(server)
        until(ready, 20)
        assert not any("expired" in warning for warning in status(server).warnings)
