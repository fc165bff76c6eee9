"""What the front agrees on with whoever connects from this machine: a TLS handshake with it, and nothing more."""

from __future__ import annotations

import ipaddress
import socket

from sealora_common.network.address import host_and_port
from sealora_common.network.tls import unverified_client_context
from sealora_common.network.tls_handshake import HandshakeWatch

_SECONDS = 2.0
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def handshake_sentence(address: str | None, host: str) -> str:
    """Shakes hands with the front.

    Args:
        address: where it listens, `host:port`; None where it is the operator's own.
        host: a name that sites reach it by.

    Returns:
        TLS version, cipher, key exchange and what that withstands; or why they are not known.
    """
    if address is None:
        return "not known: the front is your own"
    # The server's own front on its own machine, and it is told nothing. Its certificate is looked at elsewhere.
    context = unverified_client_context()
    watch = HandshakeWatch(context)
    try:
        with (
            socket.create_connection(_reachable(*host_and_port(address)), timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            return watch.agreed(tls).sentence()
    except OSError as error:
        return f"not known: no handshake with the front at {address} ({error.strerror or error})"


def _reachable(host: str, port: int) -> tuple[str, int]:
    """Where to connect to what listens there: all of a machine's addresses are none of its own."""
    try:
        listening = ipaddress.ip_address(host)
    except ValueError:
        return host, port
    return (_LOOPBACK[listening.version] if listening.is_unspecified else host), port
