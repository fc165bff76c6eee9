"""`sealora server init`: a server's directory, ready to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from sealora_common.config import checked
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import UnreadableError
from sealora_common.identity import Identity, write_public_key
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.own_files import make_directory
from sealora_server.deployment.config import ServerConfig
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.tls.certificates import check_certificate, create_authority, issue_certificate

AUTHORITY_KEY = Path("tls/ca-key.pem")
CONFIG = "server.yaml"

_OPENING = """\
# A Sealora server. Start it with:  sealora server run --config {path}
# Every field and its default: docs/settings.md.
"""


@dataclass(frozen=True)
class OwnCertificate:
    """A certificate that the operator brings along. The files stay where they are."""

    certificate: Path
    key: Path
    ca: Path | None
    """What sites pin; None where they trust a public authority."""


def initialise(
    directory: Path, hosts: Sequence[str], *, listen: str | None = None, own: OwnCertificate | None = None
) -> tuple[ServerDirectory, Identity]:
    """Makes a server's directory: configuration, receipt identity, and certificates unless `own` ones are given.

    Returns:
        The directory, and the identity whose public key goes into the roster.

    Raises:
        DeploymentError: there is a server already, or the operator's own certificate will not do.
        StorageError: a file could not be written.
    """
    server = ServerDirectory(directory / CONFIG)
    server.check_path()
    for existing in (server.config_file, server.identity):
        if existing.exists():
            raise DeploymentError(f"{existing} exists: there is a server here already; choose another directory")
    values = {"listen": listen} if listen else {}
    config = _configuration(values, hosts, own)
    make_directory(server.path)
    if own is None:
        _make_certificates(server.path, config)
    else:
        check_certificate(own.certificate, own.key, hosts, own.ca, datetime.now(UTC))
    identity = Identity.create("server", SystemEntropy())
    identity.save(server.identity)
    write_public_key(server.public_key, identity.public_key)
    # Last, so that a directory with a server.yaml is a whole one.
    shown = config.model_dump(mode="json", include={"listen", "hosts", "tls"}, exclude={"tls": {"warn_days"}})
    text = _OPENING.format(path=server.config_file) + yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
    write_atomically(server.config_file, text.encode())
    return server, identity


def renew_certificate(server: ServerDirectory) -> datetime:
    """Replaces the server's certificate and key by new ones from the authority that `initialise` made.

    Returns:
        When the new certificate expires.

    Raises:
        DeploymentError: the certificate is the operator's own, or the authority's key is not there.
    """
    authority_key = server.path / AUTHORITY_KEY
    if server.ca is None or not authority_key.exists():
        raise DeploymentError(
            f"{authority_key}: the authority's key is not there: put it back for the renewal, or renew the "
            "certificate where it came from"
        )
    hosts = server.config.hosts
    issue_certificate(
        hosts, authority=server.ca, authority_key=authority_key, certificate=server.certificate, key=server.key
    )
    statuses = check_certificate(server.certificate, server.key, hosts, server.ca, datetime.now(UTC))
    return statuses[0].expires


def _configuration(values: dict[str, str], hosts: Sequence[str], own: OwnCertificate | None) -> ServerConfig:
    tls = {}
    if own is not None:
        tls = {"certificate": own.certificate.absolute(), "key": own.key.absolute()}
        tls["ca"] = own.ca.absolute() if own.ca else None  # type: ignore[assignment]
    try:
        return checked(ServerConfig, {**values, "hosts": tuple(hosts), "tls": tls}, before="--", whole="server")
    except UnreadableError as error:
        raise DeploymentError(str(error)) from None


def _make_certificates(directory: Path, config: ServerConfig) -> None:
    authority = directory / (config.tls.ca or "")
    create_authority(authority, directory / AUTHORITY_KEY, config.hosts[0])
    issue_certificate(
        config.hosts,
        authority=authority,
        authority_key=directory / AUTHORITY_KEY,
        certificate=directory / config.tls.certificate,
        key=directory / config.tls.key,
    )
