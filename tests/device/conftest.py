"""The device that each check runs on, and what it tells the table.

Every check is one function with two cases: the CPU, in the default suite, so that the checks themselves are known to
work; and CUDA, under the mark `gpu`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

from sealora_client.model import adapted, base

from device_report import CASE, CHECK, DEVICE, FIGURE


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Models are loaded there meanwhile, whatever this machine would choose."""
    chosen = torch.device(str(request.param))
    monkeypatch.setattr(base, "training_device", lambda: chosen)
    monkeypatch.setattr(adapted, "_loaded", {})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield chosen
    torch.set_num_threads(threads)


@pytest.fixture
def found(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """`found(text)`: what was measured, with its unit, for the table."""
    return lambda text: record_property(FIGURE, text)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("check")
        if marker is None or any(name == CHECK for name, _ in item.user_properties):
            continue
        callspec = getattr(item, "callspec", None)
        where = str(callspec.params.get("device", "")) if callspec else ""
        case = callspec.id.removeprefix(where).removesuffix(where).strip("-") if callspec else ""
        item.user_properties += [(CHECK, marker.args[0]), (DEVICE, where), (CASE, case)]
