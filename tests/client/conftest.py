"""Lets the tests of the client import `site_bench` by name, and runs `sealora-site` for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_server import CliServer

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def site_cli() -> Iterator[CliServer]:
    """Runs `sealora-site`, each time in a process of its own."""
    with CliServer("sealora-site") as server:
        yield server
