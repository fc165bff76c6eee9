"""A consortium that is being founded, and a pre-flight that finds nothing wrong: the real one has tests of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from joining_bench import Joining
from sealora_client.check import preflight
from sealora_common.health.finding import passed


@pytest.fixture
def joining(tmp_path: Path) -> Joining:
    return Joining(tmp_path)


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, bool]]:
    """The site.yaml files that were checked, and whether a piece of a round was tried."""
    asked: list[tuple[Path, bool]] = []

    def nothing_wrong(config: Path, *, trial: bool = True):
        asked.append((config, trial))
        yield passed("site.yaml", "as it should be")

    monkeypatch.setattr(preflight, "preflight", nothing_wrong)
    return asked
