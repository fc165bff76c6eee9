"""The one place that makes TLS contexts: TLS 1.2 or later, with OpenSSL's own list of groups (see `tls_handshake`)."""

from __future__ import annotations

import ssl
from pathlib import Path

from sealora_common.errors import StorageError


def client_context(ca: Path | None) -> ssl.SSLContext:
    """A client's context, which trusts `ca` (PEM) alone, or the system's authorities if it is None.

    Raises:
        StorageError: the file cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        why = "no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise StorageError(f"{ca}: the server's CA cannot be used ({why}): ask the server's operator for it") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def unverified_client_context() -> ssl.SSLContext:
    """A client's context that takes any certificate: for a look at a handshake, never for what is to stay secret."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context with this certificate; `load_cert_chain` on it replaces it for new connections.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
