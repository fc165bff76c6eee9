"""TLS handshakes between two contexts of a test, without a network."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest

from certificates import Authority
from sealora_common.network.tls_handshake import Agreed, HandshakeWatch

needs_hybrid = pytest.mark.skipif(
    ssl.OPENSSL_VERSION_INFO < (3, 5), reason=f"{ssl.OPENSSL_VERSION} has no X25519MLKEM768: 3.5 or later is needed"
)


def server_context(authority: Authority) -> ssl.SSLContext:
    """A server's, for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue())
    return context


def shaken(server: ssl.SSLContext, client: ssl.SSLContext, watch: HandshakeWatch | None = None) -> Agreed:
    """What the two agree on, as `watch` heard it, or one made here."""
    watch = watch or HandshakeWatch(client)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(OSError), server.wrap_socket(theirs, server_side=True) as tls:
            tls.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, client.wrap_socket(ours, server_hostname="127.0.0.1") as tls:
            tls.send(b"x")
            return watch.agreed(tls)
    finally:
        thread.join()
        theirs.close()


def only_groups(directory: Path, groups: str) -> Path:
    """An `openssl.cnf` that lets processes started with OPENSSL_CONF use these groups alone."""
    path = directory / "openssl.cnf"
    sections = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = groups\n[groups]\n"
    path.write_text(f"{sections}Groups = {groups}\n")
    return path


def only_group(context: ssl.SSLContext, group: str) -> None:
    """Leaves the context this one group; skips the test where the Python that runs it has no name for it."""
    try:
        context.set_ecdh_curve(group)
    except ssl.SSLError:
        pytest.skip(f"this Python cannot choose {group} alone")
