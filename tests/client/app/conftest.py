"""Sites whose app is asked, with privacy and without."""

from __future__ import annotations

import shutil

import pytest
from flwr.app import RecordDict

from site_bench import Bench
from tiny_federation import PRIVATE


@pytest.fixture(scope="module")
def shared_bench(tiny_base, tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), tiny_base(), rounds=3)


@pytest.fixture
def bench(shared_bench) -> Bench:
    """Sites without privacy, in no round, with no past."""
    for name, context in shared_bench.contexts.items():
        context.state = RecordDict()
        for kept in ("receipts", "outbox"):
            shutil.rmtree(shared_bench.directory(name) / kept, ignore_errors=True)
    shared_bench.receipts.clear()
    return shared_bench


@pytest.fixture
def private_bench(tiny_base, tmp_path) -> Bench:
    return Bench(tmp_path, tiny_base(), rounds=2, privacy=PRIVATE)
