"""The device that a site computes on: chosen, sent to, waited for and measured here, and named nowhere else.

A GPU that CUDA drives, where torch finds one, and the CPU otherwise. Kernels on a GPU are queued: the process that asks
for them runs on until it reads a result, and then waits for everything that was queued before. A training step that
reads one number in each of its micro-batches leaves the GPU idle as often, so nothing is read before the step's end
(`tests/client/training/test_one_wait_a_step.py`), and what is sent there is sent by `to_device`.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Gpu:
    """The GPU that a site computes on.

    Attributes:
        name: as its driver gives it.
        memory: bytes, all of it.
    """

    name: str
    memory: int


def training_device() -> torch.device:
    """Where models are loaded and trained: the first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def is_gpu(device: torch.device) -> bool:
    """Whether kernels are queued there, and memory is its own."""
    return device.type == "cuda"


def gpu_count() -> int:
    """How many GPUs this process may use."""
    return torch.cuda.device_count()


def gpu() -> Gpu | None:
    """The one that `training_device` chooses; None if that is the CPU."""
    if not is_gpu(training_device()):
        return None
    properties = torch.cuda.get_device_properties(training_device())
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
    """Bytes of the GPU that a model and its training may take; None without a GPU.

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
