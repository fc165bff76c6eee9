"""Crowds before the front: connections without TLS, without a request, ended by RST, from one address or from many.

An address is one of 127.0.0.0/8. What a crowd costs is printed; `docs/threat-model.md` says it too.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from front_bench import KINDS, StartedFront, started_front

from sealora_server.deployment.config import LimitsSection

PATH = "/v1/fleet/pull-messages"
REQUEST = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
LIMITS = LimitsSection(connections=200, connections_per_address=25, connections_per_second=10_000, header_seconds=60.0)
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 10)]


def memory(front: StartedFront) -> float:
    """MB of the front's processes."""
    ids = [front.process.pid]
    for task in Path(f"/proc/{front.process.pid}/task").iterdir():
        ids += map(int, (task / "children").read_text().split())
    kilobytes = 0
    for number in ids:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{number}/status").read_text()
            kilobytes += int(status.partition("VmRSS:")[2].split()[0])
    return kilobytes / 1024


@pytest.fixture(params=KINDS)
def front(request, tmp_path) -> Iterator[StartedFront]:
    with started_front(request.param, tmp_path / "server", LIMITS) as started:
        yield started


@pytest.fixture
def embedded(tmp_path) -> Iterator[StartedFront]:
    with started_front("embedded", tmp_path / "server", LIMITS) as started:
        yield started


def crowd(front: StartedFront, per_address: int, addresses: list[str] = ADDRESSES) -> list[socket.socket]:
    """Connections of every address, without a word; those that were refused are left out."""
    opened = []
    for address in addresses:
        for _ in range(per_address):
            with contextlib.suppress(OSError):
                opened.append(
                    socket.create_connection(("127.0.0.1", front.port), timeout=5, source_address=(address, 0))
                )
    return opened


def asks(front: StartedFront) -> ssl.SSLSocket:
    """A node's connection, on which it was heard."""
    connection = front.connect()
    connection.sendall(REQUEST)
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    return connection


def test_connections_ended_by_rst_leave_nothing_behind(front):
    asks(front).close()
    before = memory(front)
    for _ in range(400):
        connection = asks(front)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    grown = memory(front) - before
    print(f"{front.kind}: 400 connections ended by RST: {grown:.1f} MB more")
    assert grown < 25


def test_what_strangers_hold_costs_little(front):
    """With TLS agreed and half a request sent, which is the most that a stranger can have kept."""
    asks(front).close()
    before = memory(front)
    held = []
    for connection in crowd(front, 12):
        context = ssl.create_default_context(cafile=str(front.ca))
        held.append(context.wrap_socket(connection, server_hostname="localhost"))
        held[-1].sendall(REQUEST[:-2])
    each = (memory(front) - before) / len(held)
    print(f"{front.kind}: {1000 * each:.0f} kB for a stranger's connection")
    for connection in held:
        connection.close()
    assert each < 0.5


def test_eight_addresses_that_hold_all_places_keep_no_node_out(embedded):
    known = asks(embedded)
    held = crowd(embedded, LIMITS.connections_per_address)
    started = time.monotonic()
    new = asks(embedded)
    print(f"before {len(held)} strangers a node's new connection was heard in {time.monotonic() - started:.2f} s")
    for connection in (known, new):
        connection.sendall(REQUEST)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    for connection in held:
        connection.close()


def test_connections_on_which_a_node_was_heard_are_not_driven_out(embedded):
    """Although their address has more of them than any stranger's."""
    known = [asks(embedded) for _ in range(20)]
    held = crowd(embedded, 14)
    assert len(held) > LIMITS.connections / 2
    for connection in known:
        connection.sendall(REQUEST)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    for connection in held:
        connection.close()


def test_strangers_fill_half_of_the_places_at_most(embedded):
    held = crowd(embedded, LIMITS.connections_per_address)
    time.sleep(0.5)
    open_still = 0
    for connection in held:
        connection.settimeout(0.01)
        try:
            open_still += connection.recv(1) != b""
        except TimeoutError:
            open_still += 1
        except OSError:
            pass
        connection.close()
    assert 0.4 * LIMITS.connections <= open_still <= LIMITS.connections / 2


def test_one_address_opens_no_more_than_its_share_and_does_not_hide_the_others(embedded):
    held = []
    for _ in range(2):  # the connection that the bench asked whether the front is up with may hold a place still
        held += crowd(embedded, 40, ["127.0.0.1"])
        time.sleep(0.3)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        asks(embedded)
    (other,) = crowd(embedded, 1, ["127.0.0.77"])
    context = ssl.create_default_context(cafile=str(embedded.ca))
    with context.wrap_socket(other, server_hostname="localhost") as tls:
        tls.sendall(REQUEST)
        assert tls.recv(4096).startswith(b"HTTP/1.1 200")
    for connection in held:
        connection.close()


def test_new_connections_of_an_address_come_at_a_bounded_rate(tmp_path):
    limits = LIMITS.model_copy(update={"connections_per_second": 5, "connections_per_address": 10})
    with started_front("embedded", tmp_path / "server", limits) as front:
        heard = 0
        for _ in range(30):
            with contextlib.suppress(OSError, AssertionError):
                asks(front).close()
                heard += 1
        assert 8 <= heard <= 15
        time.sleep(0.5)
        asks(front).close()
