"""Clients of either front, and a SuperLink behind it, that are silent or slow, each tried on the real process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

import pytest
from starlette.responses import Response

from sealora_server.deployment.config import LimitsSection

from front_requests import HASTY, PATH, closed_within, head, status_of


@pytest.fixture(scope="module")
def limits() -> LimitsSection:
    return HASTY


@pytest.mark.slow
def test_a_silent_connection_is_closed(front):
    with front.connect() as connection:
        assert closed_within(connection, 4.0)


@pytest.mark.slow
def test_a_head_that_comes_byte_by_byte_is_cut_off(front):
    with front.connect() as connection:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in head("Content-Length: 0") * 10:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)
                if closed_within(connection, 0.0):
                    break
        assert time.monotonic() - started < 5
    assert front.superlink.requests == []


@pytest.mark.slow
def test_a_second_head_that_comes_byte_by_byte_is_cut_off_too(front):
    with front.connect() as connection:
        connection.sendall(head("Content-Length: 0"))
        assert status_of(connection) == 200
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in head("X-Padding: " + "a" * 100)[:80]:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)
                if closed_within(connection, 0.0):
                    break
        assert time.monotonic() - started < 6
    assert len(front.superlink.requests) == 1


def test_a_body_that_stops_coming_is_cut_off(front):
    with front.connect() as connection:
        connection.sendall(head("Content-Length: 100") + b"12345")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert status_of(connection) in {408, None}
        assert closed_within(connection, 4.0)
    assert not any(seen.whole for seen in front.superlink.requests)


@pytest.mark.slow
def test_an_idle_connection_is_closed_in_the_end(front):
    with front.connect() as connection:
        connection.sendall(head("Content-Length: 0"))
        assert status_of(connection) == 200
        assert not closed_within(connection, 1.2)  # later than the head of a first request is due
        assert closed_within(connection, 4.0)


def test_a_handshake_that_never_comes_is_given_up(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as plain:
        assert closed_within(plain, 5.0)


@pytest.mark.slow
def test_a_superlink_that_does_not_answer_makes_504(front):
    async def never(request, seen):
        while not front.superlink.go_on.is_set():
            await asyncio.sleep(0.05)
        return Response(b"too late")

    front.superlink.answer = never
    with front.client(timeout=10) as client:
        assert client.post(PATH).status_code == 504
