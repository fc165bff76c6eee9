"""However many look at a page, the dashboard's memory stays what it is; and it ends at once when it is told to."""

from __future__ import annotations

import signal
import socket
import time
from urllib.parse import urlsplit

import psutil
import pytest
from shown_dashboard import WrittenRun, shown_dashboard

from sealora_common.records.events import SiteReplied, Stage

LISTENERS = 1000
MOST_GROWTH = 64 * 2**20
"""Bytes: a connection and its task are a few tens of KiB; no copy of the page for each."""


@pytest.mark.slow
def test_memory_is_flat_over_a_thousand_event_streams(tmp_path):
    sites = [f"hospital-{number:02d}" for number in range(20)]
    run = WrittenRun(tmp_path / "runs" / "one", sites, 50)
    for number in range(1, 21):
        run.write_round(number)
    with shown_dashboard(tmp_path / "runs") as dashboard:
        process = psutil.Process(dashboard.process.pid)
        client = dashboard.client()
        where = urlsplit(dashboard.url)
        (name, value), *_ = client.cookies.items()
        head = f"GET /runs/one/events HTTP/1.1\r\nHost: {where.netloc}\r\nCookie: {name}={value}\r\n\r\n".encode()
        assert client.get("/runs/one").status_code == 200
        before = process.memory_info().rss
        listeners = []
        for _ in range(LISTENERS):
            listener = socket.create_connection((where.hostname, where.port), timeout=30)
            listener.sendall(head)
            listeners.append(listener)
        for listener in listeners:
            assert b"200 OK" in listener.recv(4096)
        connected = process.memory_info().rss
        spent = sum(process.cpu_times()[:2])
        for number in range(21, 31):  # all are told of each, and none of them reads
            run.write(Stage(round=number, stage="train", sites=20))
            run.write(
                *(SiteReplied(round=number, stage="train", site=site, bytes_up=1, bytes_down=1) for site in sites)
            )
            time.sleep(1.2)
            assert client.get("/").status_code == 200  # and a page is there for whoever asks
        told = process.memory_info().rss
        spent = sum(process.cpu_times()[:2]) - spent
        for listener in listeners:
            listener.close()
        time.sleep(3)
        after = process.memory_info().rss
        sizes = [round(size / 2**20) for size in (before, connected, told, after)]
        print(f"MiB before, with {LISTENERS} listeners, after 10 changes, without them: {sizes}; {spent:.1f} s of CPU")
        assert connected - before < MOST_GROWTH
        assert told - before < 3 * MOST_GROWTH
        assert client.get("/").status_code == 200

        beyond = [socket.create_connection((where.hostname, where.port), timeout=30) for _ in range(3)]
        for listener in beyond:
            listener.sendall(head)
            assert b"200 OK" in listener.recv(4096)
        began = time.monotonic()
        dashboard.process.send_signal(signal.SIGTERM)
        dashboard.process.wait(15)
        assert time.monotonic() - began < 10
