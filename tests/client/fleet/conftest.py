"""Flower's own SuperLink, and a key that it knows."""

from __future__ import annotations

import pytest
from fleet_server import FleetServer
from fleet_site import new_key


@pytest.fixture
def server():
    with FleetServer(keyed=True) as running:
        yield running


@pytest.fixture
def key(server):
    key = new_key()
    server.register(key)
    return key
