"""Flower's own SuperLink, and a key that it knows; sites on a connection that does what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fake_connection import SERVER, FakeConnection
from fleet_server import FleetServer
from fleet_site import FleetSite, new_key
from flwr.app import Message


@pytest.fixture
def server():
    with FleetServer(keyed=True) as running:
        yield running


@pytest.fixture
def key(server):
    key = new_key()
    server.register(key)
    return key


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., FleetSite]]:
    """`start(connection, app, **options)`: a site on it, at work until the end of the test."""
    with ExitStack() as sites:

        def started(connection: FakeConnection, app: Callable[..., Message] | None = None, **options: Any) -> FleetSite:
            return sites.enter_context(FleetSite(tmp_path, SERVER, app, connection=connection, **options))

        yield started
