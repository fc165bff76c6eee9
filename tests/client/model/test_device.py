"""The one module that names devices: what it says with a GPU, which torch is told there is, and without."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from sealora_client.check import machine
from sealora_client.model import device

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A GPU of 80 GB, of which 30 are free and 5 more kept by torch; what was asked of it in order."""
    asked: list[str] = []
    properties = SimpleNamespace(name="Made-up 80", total_memory=80_000)
    told = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda _: properties,
        "mem_get_info": lambda _: (30_000, 80_000),
        "memory_reserved": lambda _: 45_000,
        "memory_allocated": lambda _: 40_000,
        "max_memory_allocated": lambda _: 42_000,
        "reset_peak_memory_stats": lambda _: asked.append("forgotten"),
        "synchronize": lambda _: asked.append("waited"),
    }
    for name, answer in told.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    return asked


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for name in ("synchronize", "mem_get_info", "max_memory_allocated", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: pytest.fail("there is no GPU to ask"))


def test_with_a_gpu_it_is_chosen_waited_for_and_measured(with_gpu: list[str]) -> None:
    assert device.training_device() == GPU
    assert device.gpu() == device.Gpu("Made-up 80", 80_000)
    assert device.gpu_count() == 2
    assert device.free_gpu_memory() == machine.free_memory() == 35_000  # what torch keeps unused is as good as free
    assert device.peak_memory(GPU) == 42_000
    assert device.generators_beside_the_cpu(GPU) == [GPU]
    device.wait_for(GPU)
    device.forget_peak(GPU)
    assert with_gpu == ["waited", "forgotten"]


def test_a_model_on_the_cpu_of_such_a_machine_is_measured_there(with_gpu: list[str]) -> None:
    device.wait_for(CPU)
    device.forget_peak(CPU)
    assert with_gpu == []
    assert device.generators_beside_the_cpu(CPU) == []
    assert device.peak_memory(CPU) > 10_000_000


@pytest.mark.usefixtures("without_gpu")
def test_without_one_everything_is_of_the_cpu() -> None:
    assert device.training_device() == CPU
    assert (device.gpu(), device.gpu_count(), device.free_gpu_memory()) == (None, 0, None)
    assert machine.free_memory() > 0
    device.wait_for(CPU)
    device.forget_peak(CPU)
    assert device.peak_memory(CPU) > 10_000_000
