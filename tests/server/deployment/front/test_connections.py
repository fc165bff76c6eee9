"""Connections to either front that are too many, not TLS or older than a certificate, tried on the real process."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import time

import httpx
import pytest

from sealora_server.deployment.initialise import renew_certificate

from front_requests import LIMITS, PATH, head, status_of


def test_too_many_connections_of_one_address_are_told_to_come_later_or_dropped(front):
    held = [front.connect() for _ in range(LIMITS.connections_per_address)]
    try:
        for connection in held:  # nginx counts a connection once it has asked for something
            front.superlink.answer = front.superlink.slowly
            connection.sendall(head("Content-Length: 0"))
        deadline = time.monotonic() + 5
        while len(front.superlink.requests) < len(held) and time.monotonic() < deadline:
            time.sleep(0.02)
        if front.kind == "nginx":
            with front.client() as client:
                assert client.post(PATH).status_code == 503
        else:
            with pytest.raises((OSError, ssl.SSLError)):
                front.connect()
    finally:
        front.superlink.go_on.set()
        for connection in held:
            connection.close()
    front.superlink.answer = None
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        # Until the front has heard of their end, a new connection is told so or dropped like those above.
        with front.client() as client, contextlib.suppress(httpx.TransportError):
            if client.post(PATH).status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail("the connections were closed and are counted still")


def test_plain_http_and_old_tls_are_not_spoken(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as plain:
        plain.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b" 200 " not in plain.recv(1000)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")  # it is the front that must refuse, not this client
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", front.port), timeout=5) as plain,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        old.wrap_socket(plain, server_hostname="localhost")
    assert front.superlink.requests == []


def test_a_renewed_certificate_is_shown_to_new_connections_without_a_restart(front):
    with front.connect() as before:
        first = before.getpeercert(binary_form=True)
        renew_certificate(front.server)
        front.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 5
        while True:
            with front.connect() as after:
                if after.getpeercert(binary_form=True) != first:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before.sendall(head("Content-Length: 0"))
        if front.kind == "embedded":  # nginx closes idle connections of its former workers
            assert status_of(before) == 200
