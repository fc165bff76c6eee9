"""A site with a budget of its own, for `sealora-site budget`."""

from __future__ import annotations

from pathlib import Path

import pytest

from budget_site import write_site


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_site(tmp_path / "site")
