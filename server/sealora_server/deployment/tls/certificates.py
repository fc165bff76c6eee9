"""The server's TLS certificate and the small authority behind it (RFC 5280), or the operator's own.

Sites pin the authority, so the server's certificate can be renewed without touching them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealora_common.config import SMALL, read_file, why_not
from sealora_common.errors import UnreadableError
from sealora_common.identity.encoded_keys import private_key_from_pem
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.own_files import PUBLIC_FILE
from sealora_server.deployment.errors import DeploymentError

AUTHORITY_DAYS = 3650
SERVER_DAYS = 365
# Sites whose clocks are behind the server's must not find a new certificate not yet valid.
_BACKDATED = timedelta(hours=1)


@dataclass(frozen=True)
class CertificateStatus:
    """What is known of a certificate that is in use.

    Attributes:
        path: its file.
        expires: when it stops being valid (UTC).
    """

    path: Path
    expires: datetime

    def days_left(self, now: datetime) -> float:
        """Days until it expires; negative once it has."""
        return (self.expires - now) / timedelta(days=1)


def create_authority(certificate: Path, key: Path, name: str) -> None:
    """Makes a certificate authority that signs servers' certificates only.

    Raises:
        StorageError: a file could not be written.
    """
    private = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Sealora authority of {name}"[:64])])
    builder = (
        _builder(subject, subject, private, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )
    _write_key(key, private)
    pem = builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM)
    write_atomically(certificate, pem, mode=PUBLIC_FILE)


def issue_certificate(
    hosts: Sequence[str], *, authority: Path, authority_key: Path, certificate: Path, key: Path
) -> None:
    """Makes a new key and certificate for the server under `hosts` (names or addresses), signed by the authority.

    Raises:
        DeploymentError: the authority's files cannot be used.
        StorageError: a file could not be written.
    """
    signer = load_certificates(authority)[0]
    signing_key = load_private_key(authority_key)
    if _public_bytes(signer.public_key()) != _public_bytes(signing_key.public_key()):
        raise DeploymentError(f"{authority_key}: not the key of {authority}: name the authority's own key")
    private = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    builder = (
        _builder(subject, signer.subject, private, SERVER_DAYS, latest=signer.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    pem = builder.sign(signing_key, hashes.SHA256()).public_bytes(Encoding.PEM)
    # The key goes first: a front that reads the pair in between finds them not to match and keeps the old one.
    _write_key(key, private)
    write_atomically(certificate, pem, mode=PUBLIC_FILE)


def check_certificate(
    certificate: Path, key: Path, hosts: Sequence[str], authority: Path | None, now: datetime
) -> list[CertificateStatus]:
    """Checks that the files belong together and serve every one of `hosts` at the time `now`.

    Returns:
        The certificate's status, then the authority's if one is named.

    Raises:
        DeploymentError: they do not; the sentence says which and how to mend it.
    """
    served = load_certificates(certificate)[0]
    if _public_bytes(served.public_key()) != _public_bytes(load_private_key(key).public_key()):
        raise DeploymentError(f"{key}: not the key of {certificate}: put the matching pair there")
    for host in hosts:
        if not _covers(served, host):
            raise DeploymentError(
                f"{certificate}: not for {host}: sites that connect under that name would refuse it; renew it "
                "(`sealora server certificate renew`) or correct `hosts`"
            )
    statuses = [CertificateStatus(certificate, served.not_valid_after_utc)]
    if authority is not None:
        issuer = load_certificates(authority)[0]
        try:
            served.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            if len(load_certificates(certificate)) == 1:
                raise DeploymentError(
                    f"{certificate}: not issued by {authority}, which sites pin: renew it or correct `tls.ca`"
                ) from None
        statuses.append(CertificateStatus(authority, issuer.not_valid_after_utc))
    for status in statuses:
        if status.expires <= now:
            raise DeploymentError(
                f"{status.path}: expired on {status.expires:%Y-%m-%d}: renew it (`sealora server certificate renew`)"
            )
    if served.not_valid_before_utc > now:
        raise DeploymentError(f"{certificate}: not valid before {served.not_valid_before_utc}: check the clock")
    return statuses


def load_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one.

    Raises:
        DeploymentError: the file cannot be read or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(read_file(path, SMALL.longest))
    except (OSError, UnreadableError) as error:
        raise DeploymentError(f"{path}: the certificate cannot be read ({why_not(error)}): correct that") from None
    except ValueError:
        raise DeploymentError(f"{path}: not a certificate in PEM form: put one there") from None


def load_private_key(path: Path) -> EllipticCurvePrivateKey:
    """A private key that signs, from an unencrypted PEM file that only its owner (and group) may read.

    Raises:
        DeploymentError: it cannot be read, others may read it, or it is locked or no private key.
    """
    try:
        pem = read_file(path, SMALL.longest)
        exposed = path.stat().st_mode & 0o007
    except (OSError, UnreadableError) as error:
        raise DeploymentError(f"{path}: the private key cannot be read ({why_not(error)}): correct that") from None
    if exposed:
        raise DeploymentError(f"{path}: others can read this private key: chmod 600 it, and replace it if they did")
    try:
        # Of whatever kind the operator's own is: only `sign` and `public_key` are asked of it.
        return private_key_from_pem(pem)  # type: ignore[return-value]
    except TypeError:
        raise DeploymentError(f"{path}: locked by a passphrase: a server that restarts alone needs it open") from None
    except ValueError:
        raise DeploymentError(f"{path}: not a private key in PEM form: put one there") from None


def _builder(
    subject: x509.Name, issuer: x509.Name, private: EllipticCurvePrivateKey, days: int, latest: datetime | None = None
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    expires = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(expires if latest is None else min(expires, latest))
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise DeploymentError(f"{host!r} is neither a host name (in ASCII) nor an address: correct `hosts`") from None


def _covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether the certificate is for `host` (RFC 6125: a wildcard stands for one leftmost label)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        wildcard = f"*.{host.partition('.')[2]}".lower()
        return {host.lower(), wildcard} & {name.lower() for name in names.get_values_for_type(x509.DNSName)} != set()


def _write_key(path: Path, private: EllipticCurvePrivateKey) -> None:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(path, pem, mode=0o600)


def _public_bytes(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]
