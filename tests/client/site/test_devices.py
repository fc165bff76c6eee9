"""`devices` of site.yaml: what may stand there, and what a machine has of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sealora_client.model import device as device_module
from sealora_client.model.device import device_names, training_device
from sealora_client.site.config import SiteConfig
from sealora_common.errors import ModelError, PolicyError


def config(directory: Path, devices: Any) -> SiteConfig:
    file = directory / "site.yaml"
    file.write_text(yaml.safe_dump({"name": "a", "data": "d", "coordinator": "a" * 64, "devices": devices}))
    return SiteConfig.load(file)


@pytest.mark.parametrize("devices", [1, 2, 64, ["cpu", "cpu"], ["cuda:0", "cuda:1"], ["cuda:3"]])
def test_a_number_or_names_of_one_kind_may_stand_there(tmp_path: Path, devices: Any) -> None:
    read = config(tmp_path, devices).devices
    assert (read if isinstance(read, int) else list(read)) == devices


@pytest.mark.parametrize(
    "devices", [0, -1, 65, True, None, 1.5, "2", "cpu", [], ["tpu"], ["cuda:100"], [0, 1], {"a": 1}]
)
def test_what_names_no_devices_is_said_in_a_sentence(tmp_path: Path, devices: Any) -> None:
    with pytest.raises(
        PolicyError, match=r"site\.yaml: devices: (.* will not do: )?say how many, 1 to 64, or which"
    ) as told:
        config(tmp_path, devices)
    assert "\n" not in str(told.value)


def test_devices_that_round_otherwise_are_not_mixed(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="a CPU and a GPU round otherwise: name devices of one kind"):
        config(tmp_path, ["cpu", "cuda:0"])


def machine_with(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(device_module, "_chosen", [])


def test_a_number_means_gpus_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, 0)
    assert device_names(3) == ["cpu"] * 3
    assert device_names(1) == ["cpu"]
    machine_with(monkeypatch, 2)
    assert device_names(2) == ["cuda:0", "cuda:1"]
    assert device_names(1) == ["cuda:0"]
    assert device_names(("cuda", "cuda:1")) == ["cuda:0", "cuda:1"]
    assert training_device() == torch.device("cuda:0")


def test_those_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, 1)
    with pytest.raises(ModelError, match=r"^site\.yaml: devices: cuda:1 is asked for, but this machine has 1 GPU: "):
        device_names(2)
    machine_with(monkeypatch, 0)
    with pytest.raises(ModelError, match=r"cuda:0 is asked for, but this machine has no GPU that torch can use: "):
        device_names(["cuda"])
