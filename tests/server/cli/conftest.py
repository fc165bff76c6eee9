"""The process that runs `sealora`, started once for all tests of its commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli_server import CliServer


@pytest.fixture(scope="session")
def cli() -> Iterator[CliServer]:
    with CliServer() as server:
        yield server
