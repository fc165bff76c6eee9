"""Clients against servers that do as they like, over TCP and Unix sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quick_cases import quick_cases
from sealora_common.network.bounded_http import AnswerBounds, BoundedClient

SECONDS = 0.6
SIZE = 100_000
Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve, at: Path | None = None) -> Iterator[str]:
    """An address at which each connection is given to `serve`, in a thread of its own."""
    if at is None:
        listener = socket.create_server(("127.0.0.1", 0))
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(at))
        listener.listen()

    def handle(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            serve(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield "http://unix" if at is not None else f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def asked(serve: Serve, content: bytes = b"", at: Path | None = None, scheme: str = "http") -> httpx.Response:
    with (
        serving(serve, at) as address,
        BoundedClient(
            lambda _: AnswerBounds(SECONDS, SIZE), timeout=5.0, uds=at, verify=ssl.create_default_context()
        ) as client,
    ):
        return client.post(address.replace("http", scheme, 1), content=content)


def dripping(head: bytes, piece: bytes, every: float) -> Serve:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(every)

    return serve


OK = b"HTTP/1.1 200 OK\r\n"
SLOW = {
    "its head": dripping(b"HTTP/1.1 200", b"0", 0.02),
    "headers": dripping(OK, b"a: b\r\n", 0.02),
    "a body": dripping(OK + b"content-length: 1000\r\n\r\n", b"x", 0.02),
    "chunks": dripping(OK + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.02),
    "interim answers": dripping(b"", b"HTTP/1.1 102 Wait\r\n\r\n", 0.02),
    "a body until it closes": dripping(OK + b"\r\n", b"x", 0.02),
}


@pytest.mark.parametrize("unix", quick_cases([False, True], False))
@pytest.mark.parametrize("what", SLOW)
def test_a_peer_that_drips_is_left(what, unix, tmp_path):
    started = time.monotonic()
    with pytest.raises(httpx.TimeoutException):
        asked(SLOW[what], at=tmp_path / "s" if unix else None)
    assert time.monotonic() - started < SECONDS + 1.5


def test_a_peer_that_reads_slowly_is_left():
    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while connection.recv(256):
            time.sleep(0.01)

    started = time.monotonic()
    with pytest.raises(httpx.TimeoutException):
        asked(serve, content=bytes(40 << 20))
    assert time.monotonic() - started < SECONDS + 2.5


def test_a_handshake_that_drips_is_left():
    started = time.monotonic()
    with pytest.raises(httpx.TransportError):
        asked(dripping(b"\x16\x03\x03\x40\x00", b"\x02", 0.02), scheme="https")
    assert time.monotonic() - started < SECONDS + 1.5


FAST = {
    "a body": dripping(OK + b"content-length: 100000000\r\n\r\n", b"x" * 9999, 0.0),
    "chunks of a byte": dripping(OK + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 999, 0.0),
    "interim answers": dripping(b"", b"HTTP/1.1 103 Early\r\n\r\n" * 999, 0.0),
}


@pytest.mark.parametrize("what", FAST)
def test_a_peer_that_sends_without_end_is_left(what):
    with pytest.raises((httpx.RemoteProtocolError, httpx.TimeoutException), match=r"larger than|longer than"):
        asked(FAST[what])


def test_what_is_within_the_bounds_comes_whole():
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK + b"content-length: 90000\r\n\r\n" + b"x" * 90_000)

    assert asked(serve).content == b"x" * 90_000


def test_the_bounds_are_of_each_exchange_and_not_of_the_connection():
    def serve(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(OK + b"content-length: 60000\r\n\r\n" + b"x" * 60_000)

    with serving(serve) as address, BoundedClient(lambda _: AnswerBounds(SECONDS, SIZE), timeout=5.0) as client:
        for _ in range(3):
            assert len(client.post(address).content) == 60_000
            time.sleep(0.3)


def test_a_redirect_is_not_followed_and_nothing_compressed_is_unpacked():
    def answers(head: bytes) -> Serve:
        def serve(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(head + b"content-length: 0\r\n\r\n")

        return serve

    assert asked(answers(b"HTTP/1.1 302 Go\r\nlocation: http://127.0.0.1:1/\r\n")).status_code == 302
    with pytest.raises(httpx.RemoteProtocolError, match="compressed"):
        asked(answers(OK + b"content-encoding: br\r\n"))


@pytest.mark.slow
@given(pieces=st.lists(st.tuples(st.binary(max_size=40), st.sampled_from([0.0, 0.01, 0.1])), max_size=12))
@settings(max_examples=25)
def test_whatever_a_peer_sends_and_when_the_exchange_ends_in_time_with_an_answer_or_an_error_of_httpx(pieces):
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        for content, pause in pieces:
            connection.sendall(content)
            time.sleep(pause)
        time.sleep(2 * SECONDS)

    started = time.monotonic()
    with suppress(httpx.HTTPError):
        asked(serve)
    assert time.monotonic() - started < SECONDS + 1.5
