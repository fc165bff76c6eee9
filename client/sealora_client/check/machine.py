"""This machine: what it computes with, and the room there is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from sealora_client.site.config import Devices
from sealora_common.config import SMALL, read_file
from sealora_common.errors import ModelError, UnreadableError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_common.recipe import Recipe
from sealora_common.show.size_text import size_text

_LARGE_ON_CPU = 1_000_000_000
_NF4_BYTES = {2: 0.6, 4: 1.0}  # 4 bits, their doubly quantised constants, and the layers that stay in 16 or 32 bits
_DISK_LEAST = 100 << 20
_DISK_COMFORTABLE = 1 << 30
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def check_device(recipe: Recipe, parameters: int, asked: Devices = 1) -> Finding:
    """GPU or CPU against the size of the base model and what the recipe and site.yaml's `devices` ask for."""
    import torch

    from sealora_client.model.device import arithmetic_dtype, device_names, gpu

    try:
        names = device_names(asked)
    except ModelError as error:
        return failed("device", str(error))
    each = f", on each of {len(names)} devices ({', '.join(names)})" if len(names) > 1 else ""
    if (found := gpu(names[0])) is not None:
        return passed("device", f"GPU {found.name}, {size_text(found.memory)}{each}")
    if len(names) > torch.get_num_threads():
        return warned(
            "device",
            f"site.yaml: devices: {len(names)} processes share {torch.get_num_threads()} threads of the CPU: "
            "name no more of them than there are threads",
        )
    asks = [
        name
        for name, wanted in (
            ("training.optimizer: paged_adamw_8bit", recipe.training.optimizer == "paged_adamw_8bit"),
            ("model.attention: flash_attention_2", recipe.model.attention == "flash_attention_2"),
        )
        if wanted
    ]
    threads = f"no GPU, {torch.get_num_threads()} threads of the CPU"
    wanted_dtype = recipe.model.compute_dtype
    dtype = arithmetic_dtype(wanted_dtype, as_agreed=recipe.begins_with_the_base, device=torch.device(names[0]))
    if str(dtype) != f"torch.{wanted_dtype}":
        threads += f", which computes in float32, for it has no kernels for {wanted_dtype}"
    threads += f", shared out to {len(names)} processes" if each else ""
    if parameters > _LARGE_ON_CPU:
        return warned(
            "device",
            f"{threads}, for a base model of {parameters / 1e9:.1f} thousand million parameters: a round may take "
            "days; use a machine with a GPU",
        )
    if asks:
        return warned("device", f"{threads}; without CUDA the recipe's {' and '.join(asks)} is replaced: nothing to do")
    return passed("device", threads)


def check_memory(recipe: Recipe, parameters: int, copies: int = 1) -> Finding:
    """Whether the base model fits at all; what training needs beyond it is measured by a trial.

    Args:
        recipe: says how the model is quantised.
        parameters: of the model.
        copies: processes that load it into the same memory.
    """
    from sealora_client.model.device import arithmetic_dtype

    dtype = arithmetic_dtype(recipe.model.compute_dtype, as_agreed=recipe.begins_with_the_base)
    each = _NF4_BYTES[dtype.itemsize] if recipe.model.quantization == "nf4" else dtype.itemsize
    needed, free = int(parameters * each) * copies, free_memory()
    loaded = "the base model takes" if copies == 1 else f"{copies} processes' base models take"
    said = f"{loaded} about {size_text(needed)} of {size_text(free)} free"
    if needed > free:
        return failed("memory", f"{said}: free some, use a larger machine, or agree on a smaller model or on nf4")
    if needed > 0.7 * free:
        return warned("memory", f"{said}, which leaves little for training: a smaller training.micro_batch_size helps")
    return passed("memory", said)


def free_memory() -> int:
    """Bytes that the model and its training may take: of the GPU if there is one, else of the machine or container."""
    from sealora_client.model.device import free_gpu_memory

    if (of_gpu := free_gpu_memory()) is not None:
        return of_gpu
    free = int(psutil.virtual_memory().available)
    for limit, used in _CGROUPS:
        try:
            free = min(free, int(read_file(limit, SMALL.longest)) - int(read_file(used, SMALL.longest)))
        except (OSError, UnreadableError, ValueError):  # no such file, or "max"
            continue
    return max(free, 0)


def check_disk(directory: Path) -> Iterator[Finding]:
    """Whether the site's directory has room and can be written to."""
    if not os.access(directory, os.W_OK):
        yield failed("disk", f"{directory} cannot be written to: give this account the right to")
        return
    free = shutil.disk_usage(directory).free
    said = f"{size_text(free)} free at {directory}"
    if free < _DISK_LEAST:
        yield failed("disk", f"{said}: the privacy ledger must be written before training; free some space")
    elif free < _DISK_COMFORTABLE:
        yield warned("disk", f"{said}: free some space before it runs out")
    else:
        yield passed("disk", said)
