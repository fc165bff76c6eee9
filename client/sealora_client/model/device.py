"""The devices that a site computes on: chosen, sent to, waited for and measured here, and named nowhere else.

GPUs that CUDA drives, where torch finds any, and the CPU otherwise. A process computes on one device, its training
device; a site that has several has a process for each (`training.devices`).

Kernels on a GPU are queued: the process that asks for them runs on until it reads a result, and then waits for
everything that was queued before. A training step that reads one number in each of its micro-batches leaves the GPU
idle as often, so nothing is read before the step's end (`tests/client/training/test_one_wait_a_step.py`), and what is
sent there is sent by `to_device`.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sealora_common.errors import ModelError

_chosen: list[torch.device] = []


@dataclass(frozen=True)
class Gpu:
    """A GPU that a site computes on.

    Attributes:
        name: as its driver gives it.
        memory: bytes, all of it.
    """

    name: str
    memory: int


def training_device() -> torch.device:
    """Where this process loads and trains models: what `choose_training_device` named, else the first GPU if there is
    one, else the CPU.
    """
    if _chosen:
        return _chosen[-1]
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def choose_training_device(name: str) -> None:
    """Has this process load and train models on that device from now on.

    Args:
        name: as a site's `devices` names one: `cpu`, `cuda:0`, ...

    Raises:
        ModelError: this machine has no such device.
    """
    (whole_name,) = device_names([name])
    device = torch.device(whole_name)
    if is_gpu(device):
        torch.cuda.set_device(device)
    _chosen[:] = [device]


def device_names(asked: int | Sequence[str]) -> list[str]:
    """The devices that a site's `devices` names; of a number, so many GPUs, or processes on the CPU if there is none.

    >>> device_names(["cpu", "cpu"])
    ['cpu', 'cpu']

    Raises:
        ModelError: this machine has not all of them.
    """
    if not isinstance(asked, int):
        names = [name if name != "cuda" else "cuda:0" for name in asked]
    elif asked == 1:
        names = [str(training_device())]
    else:
        names = [f"cuda:{number}" if gpu_count() else "cpu" for number in range(asked)]
    _require_there(names)
    return names


def _require_there(names: Sequence[str]) -> None:
    """Refuses devices that this machine has not.

    Raises:
        ModelError: there is one.
    """
    there = gpu_count()
    for name in names:
        device = torch.device(name)
        if is_gpu(device) and (device.index or 0) >= there:
            has = "no GPU that torch can use" if not there else f"{there} GPU{'s' if there > 1 else ''}"
            raise ModelError(
                f"site.yaml: devices: {name} is asked for, but this machine has {has}: name devices that are there, or "
                "leave the line out"
            )


def is_gpu(device: torch.device) -> bool:
    """Whether kernels are queued there, and memory is its own."""
    return device.type == "cuda"


def arithmetic_dtype(name: str, *, as_agreed: bool = False, device: torch.device | None = None) -> torch.dtype:
    """The type that a device computes in where a recipe's `model.compute_dtype` says `name`.

    That one, but on a CPU that torch has no kernels for it on float32: it would multiply one number after the other,
    some seventy times slower than in float32 where there is no more than AVX2. float32 holds every value of the 16-bit
    types, and sites need not round alike, but where an adapter begins with values of the base model.

    Args:
        name: of the type.
        as_agreed: whether it is to be `name` however long it takes.
        device: None for the training device.
    """
    if as_agreed or is_gpu(device or training_device()) or _cpu_multiplies(name):
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    return torch.float32


def _cpu_multiplies(name: str) -> bool:
    if name == "float32":
        return True
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    asks = {"bfloat16": "_is_mkldnn_bf16_supported", "float16": "_is_mkldnn_fp16_supported"}  # torch has no public ones
    return bool(getattr(torch.ops.mkldnn, asks[name])())


def gpu_count() -> int:
    """How many GPUs this process may use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu(name: str) -> Gpu | None:
    """The GPU of that name, `cuda:0` say, which is there; None for `cpu`."""
    if not is_gpu(torch.device(name)):
        return None
    properties = torch.cuda.get_device_properties(torch.device(name))
    return Gpu(str(properties.name), int(properties.total_memory))


def to_device(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """`tensor`, made on the CPU, on `device`, without waiting for what the device is computing.

    From ordinary (pageable) memory CUDA takes the values aside before the call returns, so the tensor may be changed or
    dropped at once: CUDA Runtime API, "API synchronization behavior", asynchronous copies.
    """
    return tensor.to(device, non_blocking=True)


def wait_for(device: torch.device) -> None:
    """Returns when all that was queued on `device` is done; on the CPU at once."""
    if is_gpu(device):
        torch.cuda.synchronize(device)


def generators_beside_the_cpu(device: torch.device) -> list[torch.device]:
    """Devices whose random generators dropout on `device` draws from, for `torch.random.fork_rng`."""
    return [device] if is_gpu(device) else []


def free_gpu_memory() -> int | None:
    """Bytes of the training device that a model and its training may take; None if that is the CPU.

    What torch keeps for itself of what it has freed counts as free: it gives it out again.
    """
    if not is_gpu(training_device()):
        return None
    device = training_device()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def forget_peak(device: torch.device) -> None:
    """`peak_memory` of a GPU begins anew; that of a process cannot."""
    if is_gpu(device):
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: of tensors on the GPU since `forget_peak`, or of this process since it began."""
    if is_gpu(device):
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
