"""The one module that names devices: what it says with a GPU, which torch is told there is, and without."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sealora_client.check import machine
from sealora_client.model import device
from sealora_common.errors import ModelError

from single_examples import recipe_for

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_chosen", [])


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two GPUs of 80 GB, of which 30 are free and 5 more kept by torch; what was asked of them in order."""
    asked: list[str] = []
    told = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda of: SimpleNamespace(name=f"Made-up {of.index}", total_memory=80_000),
        "set_device": lambda chosen: asked.append(f"set to {chosen.index}"),
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
    assert device.gpu("cuda:0") == device.Gpu("Made-up 0", 80_000)
    assert device.gpu("cpu") is None
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
    assert (device.gpu("cpu"), device.gpu_count(), device.free_gpu_memory()) == (None, 0, None)
    assert machine.free_memory() > 0
    device.wait_for(CPU)
    device.forget_peak(CPU)
    assert device.peak_memory(CPU) > 10_000_000


@pytest.mark.parametrize(("name", "number"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_site_s_first_device_is_the_one_that_is_trained_on(with_gpu: list[str], name: str, number: int) -> None:
    device.choose_training_device(name)
    assert device.training_device() == torch.device("cuda", number)
    assert device.device_names(1) == [f"cuda:{number}"]
    assert with_gpu == [f"set to {number}"]


def test_the_cpu_may_be_chosen_where_there_is_a_gpu(with_gpu: list[str]) -> None:
    device.choose_training_device("cpu")
    assert (device.training_device(), device.free_gpu_memory(), with_gpu) == (CPU, None, [])


def test_one_that_is_not_there_is_refused_and_nothing_chosen(with_gpu: list[str]) -> None:
    with pytest.raises(ModelError, match="cuda:2 is asked for, but this machine has 2 GPUs"):
        device.choose_training_device("cuda:2")
    assert (device.training_device(), with_gpu) == (GPU, [])


@pytest.mark.usefixtures("with_gpu")
def test_the_check_tells_of_the_gpu_that_the_site_names() -> None:
    recipe = recipe_for(Path("unused"))
    assert machine.check_device(recipe, 1, ("cuda:1",)).said == "GPU Made-up 1, 78 KiB"
    assert machine.check_device(recipe, 1, 2).said.startswith("GPU Made-up 0, 78 KiB, on each of 2 devices (cuda:0, ")
    assert machine.check_device(recipe, 1).said == "GPU Made-up 0, 78 KiB"


@pytest.fixture
def no_16_bit_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with AVX2 alone."""
    monkeypatch.setattr(device, "_cpu_multiplies", lambda name: name == "float32")


THIS_CPU_MULTIPLIES = device._cpu_multiplies  # before the tests' fixtures say otherwise
DTYPES = ("bfloat16", "float16", "float32")


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.usefixtures("without_gpu", "no_16_bit_kernels")
def test_a_cpu_without_kernels_for_a_type_computes_in_float32(name: str) -> None:
    assert device.arithmetic_dtype(name) is torch.float32
    assert str(device.arithmetic_dtype(name, as_agreed=True)) == f"torch.{name}"


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.usefixtures("no_16_bit_kernels")
def test_a_gpu_computes_in_what_the_recipe_says_whatever_its_cpu_can(with_gpu: list[str], name: str) -> None:
    assert str(device.arithmetic_dtype(name)) == f"torch.{name}"
    assert device.arithmetic_dtype(name, device=CPU) is torch.float32  # though the GPU is what is trained on
    device.choose_training_device("cpu")
    assert device.arithmetic_dtype(name) is torch.float32


@pytest.mark.usefixtures("without_gpu")
def test_this_cpu_computes_16_bit_types_where_onednn_has_kernels_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cpu_multiplies", THIS_CPU_MULTIPLIES)
    for name, kernels in (
        ("bfloat16", torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        ("float16", torch.ops.mkldnn._is_mkldnn_fp16_supported()),
    ):
        assert device.arithmetic_dtype(name) is (getattr(torch, name) if kernels else torch.float32)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert [device.arithmetic_dtype(name) for name in DTYPES] == [torch.float32] * 3


@pytest.mark.usefixtures("without_gpu", "no_16_bit_kernels")
def test_the_check_says_so_and_counts_the_memory_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_for(Path("unused"))
    half = recipe.model_copy(update={"model": recipe.model.model_copy(update={"compute_dtype": "bfloat16"})})
    said = "computes in float32, for it has no kernels for bfloat16"
    assert (machine.check_device(half, 1).status, machine.check_device(recipe, 1).said.count(said)) == ("pass", 0)
    assert said in machine.check_device(half, 1).said
    of_base = half.model_copy(update={"adapter": "dora"})
    assert said not in machine.check_device(of_base, 1).said
    assert "about 191 MiB" in machine.check_memory(of_base, 100_000_000).said
    whole = machine.check_memory(half, 100_000_000).said
    monkeypatch.setattr(device, "_cpu_multiplies", lambda name: True)
    assert "about 381 MiB" in whole
    assert "about 191 MiB" in machine.check_memory(half, 100_000_000).said


@pytest.mark.usefixtures("with_gpu", "no_16_bit_kernels")
def test_the_check_speaks_of_the_device_that_the_site_names_before_it_is_chosen() -> None:
    recipe = recipe_for(Path("unused"))
    half = recipe.model_copy(update={"model": recipe.model.model_copy(update={"compute_dtype": "bfloat16"})})
    assert "computes in float32" in machine.check_device(half, 1, ("cpu",)).said


@pytest.mark.usefixtures("without_gpu", "no_16_bit_kernels")
def test_what_nf4_leaves_unquantised_is_counted_in_float32_too(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_for(Path("unused"))
    options = {"quantization": "nf4", "compute_dtype": "bfloat16"}
    half = recipe.model_copy(update={"model": recipe.model.model_copy(update=options)})
    assert "about 95 MiB" in machine.check_memory(half, 100_000_000).said
    monkeypatch.setattr(device, "_cpu_multiplies", lambda name: True)
    assert "about 57 MiB" in machine.check_memory(half, 100_000_000).said
