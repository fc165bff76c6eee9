"""Lets the tests of trackers import `read_back` and `run_fixture` by name, and keeps their libraries to themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for place in (Path(__file__).parent, Path(__file__).parents[1]):
    sys.path.insert(0, str(place))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would ask a network finds none."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
