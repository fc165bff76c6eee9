"""A served run, started once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kept_run import write_kept_run
from served import SYSTEM, Served


@pytest.fixture(scope="session")
def kept(tiny_base: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = {"system_prompt": SYSTEM, "max_tokens": 64}
    return write_kept_run(tmp_path_factory.mktemp("kept") / "run", tiny_base(), data=data)


@pytest.fixture(scope="session")
def served(kept: Path) -> Iterator[Served]:
    with Served(kept) as running:
        yield running
