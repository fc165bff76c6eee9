"""Either front, started once a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from front_bench import KINDS, StartedFront, started_front

from sealora_server.deployment.config import LimitsSection

from front_requests import LIMITS, PATH


@pytest.fixture(scope="module")
def limits() -> LimitsSection:
    """A module that tries the limits on time has others."""
    return LIMITS


@pytest.fixture(scope="module", params=KINDS)
def serving(request, limits, tmp_path_factory) -> Iterator[StartedFront]:
    with started_front(request.param, tmp_path_factory.mktemp("f") / "server", limits) as front:
        yield front


@pytest.fixture
def front(serving) -> Iterator[StartedFront]:
    superlink = serving.superlink
    superlink.requests.clear()
    superlink.answer = None
    superlink.first_chunk.clear()
    superlink.go_on.clear()
    yield serving
    superlink.go_on.set()
    superlink.answer = None
    with serving.client(timeout=10) as client:  # whatever a test did, the front still serves
        assert client.post(PATH, content=b"still there").content == b"still there"
