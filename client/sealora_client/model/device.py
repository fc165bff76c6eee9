"""Which device this process computes on: one, whatever else the machine has."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sealora_common.errors import ModelError

_chosen: list[torch.device] = []


def chosen_device() -> torch.device:
    """The one that `choose_device` named; else the GPU that torch takes for the current one, or the CPU if there is
    none.
    """
    if _chosen:
        return _chosen[-1]
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def choose_device(name: str) -> None:
    """Has base models loaded on this device from now on.

    Args:
        name: `cpu`, `cuda:0`, ...

    Raises:
        ModelError: this machine has no such device.
    """
    require_there([name])
    device = torch.device(name)
    if device.type == "cuda":
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
        names = [str(chosen_device())]
    else:
        names = [f"cuda:{number}" if torch.cuda.is_available() else "cpu" for number in range(asked)]
    require_there(names)
    return names


def require_there(names: Sequence[str]) -> None:
    """Refuses devices that this machine has not.

    Raises:
        ModelError: there is one.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for name in names:
        device = torch.device(name)
        if device.type == "cuda" and (device.index or 0) >= there:
            has = "no GPU that torch can use" if not there else f"{there} GPU{'s' if there > 1 else ''}"
            raise ModelError(
                f"site.yaml: devices: {name} is asked for, but this machine has {has}: name devices that are there, or "
                "leave the line out"
            )
