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


@pytest.fixture(scope="session", autouse=True)
def tiny_models_compute_in_what_they_name() -> Iterator[None]:
    """What is tested of 16-bit arithmetic is tested on any CPU: for tiny models one without kernels is fast enough."""
    from sealora_client.model import device

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "_cpu_multiplies", lambda name: True)
        yield
