from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from sealora_common.network.tls import server_context
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.tls.certificates import (
    AUTHORITY_DAYS,
    SERVER_DAYS,
    check_certificate,
    create_authority,
    issue_certificate,
    load_certificates,
)

HOSTS = ["sealora.example.org", "10.1.2.3", "::1"]
NOW = datetime.now(UTC)


@pytest.fixture
def files(tmp_path):
    create_authority(tmp_path / "ca.pem", tmp_path / "ca-key.pem", HOSTS[0])
    issue(tmp_path)
    return tmp_path


def issue(directory, hosts=HOSTS, name="server"):
    issue_certificate(
        hosts,
        authority=directory / "ca.pem",
        authority_key=directory / "ca-key.pem",
        certificate=directory / f"{name}.pem",
        key=directory / f"{name}-key.pem",
    )


def check(directory, hosts=HOSTS, now=NOW, name="server"):
    return check_certificate(directory / f"{name}.pem", directory / f"{name}-key.pem", hosts, directory / "ca.pem", now)


def handshake(directory, host: str, ca: str = "ca.pem") -> dict[str, object]:
    """A TLS handshake as a site does it, with the strict rules of RFC 5280 where Python knows them."""
    context = ssl.create_default_context(cafile=str(directory / ca))
    context.verify_flags |= getattr(ssl, "VERIFY_X509_STRICT", 0)
    ours, theirs = socket.socketpair()
    server = server_context(directory / "server.pem", directory / "server-key.pem")

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with context.wrap_socket(ours, server_hostname=host) as connection:
            return connection.getpeercert() or {}
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize("host", HOSTS)
def test_a_site_that_pins_the_authority_accepts_the_server_under_each_of_its_names(files, host):
    assert handshake(files, host)["subject"]


def test_it_accepts_no_other_name(files):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, "other.example.org")


def test_it_accepts_no_server_of_another_authority(files):
    create_authority(files / "other.pem", files / "other-key.pem", HOSTS[0])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, HOSTS[0], ca="other.pem")


def test_a_renewed_certificate_has_another_key_and_the_same_authority(files):
    before = (files / "server.pem").read_bytes(), (files / "server-key.pem").read_bytes()
    pinned = (files / "ca.pem").read_bytes()
    issue(files)
    assert (files / "server.pem").read_bytes() != before[0]
    assert (files / "server-key.pem").read_bytes() != before[1]
    assert (files / "ca.pem").read_bytes() == pinned
    assert handshake(files, HOSTS[0])["subject"]


def test_the_certificates_say_what_they_are_for_and_how_long(files):
    [authority] = load_certificates(files / "ca.pem")
    [server] = load_certificates(files / "server.pem")
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert authority.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not server.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOSTS[0]]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(host) for host in HOSTS[1:]]
    day = timedelta(days=1)
    assert abs(authority.not_valid_after_utc - NOW - AUTHORITY_DAYS * day) < day
    assert abs(server.not_valid_after_utc - NOW - SERVER_DAYS * day) < day
    assert server.not_valid_before_utc < datetime.now(UTC) - timedelta(minutes=30)  # a site's clock may be behind


def test_a_certificate_does_not_outlive_its_authority(files, monkeypatch):
    monkeypatch.setattr("sealora_server.deployment.tls.certificates.SERVER_DAYS", 2 * AUTHORITY_DAYS)
    issue(files)
    [authority], [server] = load_certificates(files / "ca.pem"), load_certificates(files / "server.pem")
    assert server.not_valid_after_utc == authority.not_valid_after_utc


def test_private_keys_are_for_their_owner_alone(files):
    for name in ("ca-key.pem", "server-key.pem"):
        assert (files / name).stat().st_mode & 0o777 == 0o600


def test_what_is_in_order_is_told_with_its_expiry(files):
    server, authority = check(files)
    assert (server.path.name, authority.path.name) == ("server.pem", "ca.pem")
    assert 363 < server.days_left(NOW) < 366
    assert authority.days_left(NOW) > 3600


def test_a_wildcard_covers_one_label(files):
    issue(files, ["*.example.org"])
    check(files, ["sealora.example.org", "SEALORA.example.org"])
    for host in ("example.org", "a.b.example.org", "sealora.example.com"):
        with pytest.raises(DeploymentError, match="not for"):
            check(files, [host])


def other_key(directory):
    issue(directory, name="other")
    (directory / "server-key.pem").write_bytes((directory / "other-key.pem").read_bytes())


def other_authority(directory):
    create_authority(directory / "ca.pem", directory / "ca-key.pem", "b")


def locked(directory):
    key = load_pem_private_key((directory / "server-key.pem").read_bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (directory / "server-key.pem").write_bytes(pem)


FAULTS = {
    r"server-key\.pem: not the key of .*server\.pem: put the matching pair": other_key,
    r"server\.pem: not issued by .*ca\.pem, which sites pin": other_authority,
    r"server-key\.pem: others can read this private key": lambda d: (d / "server-key.pem").chmod(0o644),
    r"server-key\.pem: locked by a passphrase": locked,
    r"server-key\.pem: not a private key in PEM form": lambda d: (d / "server-key.pem").write_text("no key"),
    r"server-key\.pem: the private key cannot be read \(No such file": lambda d: (d / "server-key.pem").unlink(),
    r"server\.pem: not a certificate in PEM form": lambda d: (d / "server.pem").write_text("none"),
    r"server\.pem: the certificate cannot be read \(No such file": lambda d: (d / "server.pem").unlink(),
    r"not for new\.example\.org: sites that connect under that name would refuse it": lambda d: None,
}


@pytest.mark.parametrize("said", FAULTS)
def test_what_will_not_do_is_named_in_one_sentence(files, said):
    FAULTS[said](files)
    hosts = ["new.example.org"] if "not for" in said else HOSTS
    with pytest.raises(DeploymentError, match=said) as caught:
        check(files, hosts)
    assert "\n" not in str(caught.value)


def test_an_expired_certificate_is_refused_and_so_is_one_of_the_future(files):
    with pytest.raises(DeploymentError, match=r"server\.pem: expired on .*: renew it"):
        check(files, now=NOW + timedelta(days=SERVER_DAYS + 1))
    with pytest.raises(DeploymentError, match=r"not valid before .*: check the clock"):
        check(files, now=NOW - timedelta(days=2))


def test_an_authority_and_the_key_of_another_issue_nothing(files):
    create_authority(files / "other.pem", files / "ca-key.pem", "b")
    before = (files / "server.pem").read_bytes()
    with pytest.raises(DeploymentError, match=r"ca-key\.pem: not the key of .*ca\.pem"):
        issue(files)
    assert (files / "server.pem").read_bytes() == before


def test_a_name_that_no_certificate_can_hold_is_refused(files):
    with pytest.raises(DeploymentError, match=r"'bücher\.example' is neither a host name"):
        issue(files, ["bücher.example"])


def test_old_tls_is_not_spoken(files):
    assert server_context(files / "server.pem", files / "server-key.pem").minimum_version == ssl.TLSVersion.TLSv1_2
