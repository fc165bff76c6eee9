"""A site behind a proxy: TLS through its CONNECT, end to end, and what is wrong with it in words."""

from __future__ import annotations

import contextlib
import socket
import threading
from base64 import b64encode

import pytest
from fleet_server import FleetServer
from fleet_site import new_key

from certificates import Authority
from sealora_client.fleet.connection import FleetConnection
from sealora_client.fleet.errors import LostConnectionError

NAME = "192.0.2.7"  # of no network, see RFC 5737


class Proxy:
    """Leads every CONNECT to one port of this machine, if the right password comes with it."""

    def __init__(self, port: int, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> None:
        self._port = port
        self._answer = answer
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.heads.append(head)
        client.sendall(self._answer)
        if b" 200 " not in self._answer:
            client.close()
            return
        server = socket.create_connection(("127.0.0.1", self._port))
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=(source, target), daemon=True).start()

    def close(self) -> None:
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def environment(monkeypatch) -> pytest.MonkeyPatch:
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "fd00::/8,10.0.0.0/8,?")
    return monkeypatch


def test_a_site_reaches_its_server_through_the_proxy_that_the_environment_names(environment, tmp_path):
    authority, key = Authority(tmp_path), new_key()
    with FleetServer(keyed=True, tls=authority.issue(NAME)) as server:
        server.register(key)
        proxy = Proxy(int(server.address.rpartition(":")[2]))
        environment.setenv("HTTPS_PROXY", f"http://ada:se%20cret@127.0.0.1:{proxy.port}")
        connection = FleetConnection(f"https://{NAME}:9443", key, authority.ca)
        assert connection.open() == server.node_of(key)
        connection.heartbeat()
        connection.close()
        proxy.close()
    assert proxy.heads[0].startswith(f"CONNECT {NAME}:9443 HTTP/1.1\r\n".encode())
    assert b64encode(b"ada:se cret") in proxy.heads[0]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Who are you\r\n\r\n", b"HTTP/1.1 403 Forbidden\r\n\r\n", b"hello\r\n\r\n"]
)
def test_a_proxy_that_refuses_is_named_and_its_password_is_not(environment, answer):
    proxy = Proxy(1, answer)
    environment.setenv("HTTPS_PROXY", f"http://ada:secret@127.0.0.1:{proxy.port}")
    connection = FleetConnection(f"https://{NAME}:9443", new_key(), None)
    named = rf"{NAME}:9443 through the proxy http://127.0.0.1:{proxy.port} \(HTTPS_PROXY\)"
    with pytest.raises(LostConnectionError, match=named) as caught:
        connection.open()
    assert "secret" not in str(caught.value)
    proxy.close()
