"""The key exchange of either front: OpenSSL's own list stands, the hybrid group first in it where it is there."""

from __future__ import annotations

import socket
import ssl

import pytest
from front_bench import KINDS, StartedFront, started_front

from certificates import Authority
from handshakes import needs_hybrid, only_group, only_groups, shaken
from sealora_common.network.tls import server_context
from sealora_common.network.tls_handshake import HandshakeWatch
from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.front.handshake import handshake_sentence

PATH = "/v1/fleet/pull-messages"
LIMITS = LimitsSection()


def told_by(front: StartedFront) -> str:
    return handshake_sentence(front.server.config.listen, "localhost")


@pytest.mark.parametrize("kind", KINDS)
def test_a_front_whose_openssl_lacks_the_hybrid_group_still_serves(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENSSL_CONF", str(only_groups(tmp_path, "P-384")))
    with started_front(kind, tmp_path / "server", LIMITS) as front, front.client() as client:
        assert client.post(PATH, content=b"x").content == b"x"
        assert "key exchange secp384r1: recorded traffic is not protected" in told_by(front)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_lacks_the_hybrid_group_is_still_served(kind, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    only_group(context, "X25519")
    watch = HandshakeWatch(context)
    with started_front(kind, tmp_path / "server", LIMITS) as front:
        context.load_verify_locations(front.ca)
        with (
            socket.create_connection(("127.0.0.1", front.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            assert tls.recv(1000).startswith(b"HTTP/1.1 200")
            assert watch.agreed(tls).group == "X25519"


@needs_hybrid
@pytest.mark.parametrize("kind", KINDS)
def test_the_hybrid_group_is_negotiated_where_openssl_has_it(kind, tmp_path):
    with started_front(kind, tmp_path / "server", LIMITS) as front:
        assert "key exchange X25519MLKEM768: recorded traffic is protected" in told_by(front)


def test_the_embedded_front_takes_any_group_that_openssl_lets_it(tmp_path):
    authority = Authority(tmp_path)
    for group in ("X25519", "prime256v1", "secp384r1", "secp521r1", "X448"):
        client = ssl.create_default_context(cafile=str(authority.ca))
        only_group(client, group)
        assert shaken(server_context(*authority.issue()), client).is_quantum_safe is False


@pytest.mark.parametrize(("listen", "reached"), [("0.0.0.0:{}", "127.0.0.1"), ("[::]:{}", "::1"), ("localhost:{}", "")])
def test_a_front_on_all_addresses_is_asked_on_loopback(monkeypatch, listen, reached):
    asked = []

    def refuse(address, timeout):
        asked.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("sealora_server.deployment.front.handshake.socket.create_connection", refuse)
    said = handshake_sentence(listen.format(7), "localhost")
    assert asked == [(reached or "localhost", 7)]
    assert said == f"not known: no handshake with the front at {listen.format(7)} (Connection refused)"


def test_a_front_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr("sealora_server.deployment.front.handshake._SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = handshake_sentence(f"127.0.0.1:{silent.getsockname()[1]}", "localhost")
    assert said.startswith("not known: no handshake with the front at 127.0.0.1:")
    assert said.endswith("timed out)")


def test_a_front_of_the_operator_s_own_is_not_asked():
    assert handshake_sentence(None, "localhost") == "not known: the front is your own"
