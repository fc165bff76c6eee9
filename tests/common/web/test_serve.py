"""The process that answers: whom it believes, what it bounds, and how it goes on with a renewed certificate."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from certificates import Authority
from sealora_common.errors import PolicyError
from sealora_common.network.tls import client_context
from sealora_common.web.serve import Certificate, _ServedCertificate

PROGRAM = """
import pathlib
import sys

from sealora_common.network.bound_socket import bound_socket
from sealora_common.web import serve

serve._IDLE_SECONDS = serve._LOOK_TICKS = 1
certificate = serve.Certificate(*map(pathlib.Path, sys.argv[1:])) if sys.argv[1:] else None


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"]:
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    said = f"{scope['client'][0]} {scope['scheme']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})


taken = bound_socket("127.0.0.1", 0)
tell = lambda: print(taken.getsockname()[1], flush=True)
serve.answer_requests(app, taken, tell, certificate=certificate, most_connections=4)
"""


@contextmanager
def served(*certificate: Path) -> Iterator[int]:
    """The port of a process that says who asks it and how."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, certificate)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
        assert errors == ""


@pytest.fixture(scope="module")
def port():
    with served() as found:
        yield found


def connected(port: int, sent: bytes) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=20)
    made.sendall(sent)
    return made


def answer(port: int, *headers: str) -> bytes:
    """All that comes back for one request."""
    lines = ["GET / HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    with connected(port, "\r\n".join(lines).encode()) as connection:
        return connection.makefile("rb").read()


def test_who_asks_is_whoever_the_connection_is_of_whatever_its_headers_say(port):
    found = answer(port, "X-Forwarded-For: 10.0.0.7", "X-Forwarded-Proto: https", "Forwarded: for=10.0.0.7")
    assert found.endswith(b"\r\n\r\n127.0.0.1 http")
    assert b"server:" not in found.lower()


def test_a_head_is_bounded(port):
    assert b" 200 " in answer(port, f"X: {'x' * 15_000}")
    with connected(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000) as connection:
        assert b" 400 " in connection.makefile("rb").readline()


def test_a_head_that_does_not_end_and_a_connection_that_is_silent_are_closed(port):
    for sent in (b"", b"GET / HTTP/1.1\r\nHost: local"):
        with connected(port, sent) as connection:
            assert b" 200 " not in connection.makefile("rb").read()


def test_connections_are_bounded(port):
    held = [connected(port, b"") for _ in range(4)]
    assert b" 503 " in answer(port)
    for connection in held:
        connection.close()


def shown_by(served: _ServedCertificate, ca) -> bool:
    """Whether what is shown to a new connection is of this authority."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        theirs.settimeout(10)

        def serve() -> None:
            try:
                served.context.wrap_socket(ours, server_side=True).close()
            except OSError:
                ours.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            client_context(ca).wrap_socket(theirs, server_hostname="127.0.0.1").close()
        except ssl.SSLCertVerificationError:
            return False
        finally:
            theirs.close()
            thread.join()
        return True


def test_a_renewed_certificate_is_shown_once_it_and_its_key_belong_together(tmp_path, caplog):
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    chain, key = first.issue()
    served = _ServedCertificate(Certificate(chain, key))
    assert shown_by(served, first.ca)
    old_key = key.read_bytes()
    second.issue()
    new_key = key.read_bytes()
    key.write_bytes(old_key)  # the certificate is renewed, and its key is not yet
    os.utime(chain, (5, 5))  # clocks of file systems tick slowly
    with caplog.at_level(logging.ERROR):
        served.look()
    assert "the new certificate cannot be used, the old one stays" in caplog.text
    assert shown_by(served, first.ca)
    key.unlink()
    served.look()
    assert shown_by(served, first.ca)
    key.write_bytes(new_key)
    served.look()
    assert shown_by(served, second.ca)
    assert not shown_by(served, first.ca)


def test_pages_go_on_under_a_renewed_certificate(tmp_path):
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")

    def ask(by: Authority) -> str:
        return httpx.get(f"https://127.0.0.1:{port}/", verify=client_context(by.ca), trust_env=False, timeout=20).text

    with served(*first.issue()) as port:
        assert ask(first) == "127.0.0.1 https"
        second.issue()
        ends = time.monotonic() + 20
        while True:
            try:
                assert ask(second) == "127.0.0.1 https"
                break
            except httpx.ConnectError:
                assert time.monotonic() < ends


def test_a_certificate_that_is_none_is_one_sentence(tmp_path):
    chain, key = Authority(tmp_path).issue()
    for broken, said in ((key, "cannot be used with its key"), (tmp_path / "none", "No such file")):
        with pytest.raises(PolicyError, match=re.escape(said)):
            _ServedCertificate(Certificate(chain, broken) if broken != key else Certificate(key, chain))
