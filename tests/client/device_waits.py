"""Counts what would make a process wait for a GPU, on a machine without one: values read back, and copies that block.

Kernels on a CPU are done when the call returns, so nothing waits there, and nothing can be seen of it. What can is
what is asked of torch: a number out of a tensor, a tensor as an array or on the CPU, a branch on a tensor, a copy to a
device by anything but `to_device`. Two modes see all of it: that of functions what Python asks for, that of operators
what libraries ask for below it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

READ = {"item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "__array__", "is_nonzero"}
MADE = {"tensor", "as_tensor", "asarray", "scalar_tensor"}
OPERATORS = ("_local_scalar_dense", "is_nonzero", "equal.default", "unique", "masked_select", "aten.nonzero")

_TESTS = Path(__file__).resolve().parents[1]


@contextmanager
def waits(*, but_in: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Within it everything a GPU would be waited for is noted, with the line that asks for it.

    Args:
        but_in: functions of Sealora whose tensors are made on the CPU and not sent yet.
    """
    seen: list[str] = []
    with _Functions(seen, but_in), _Operators(seen, but_in):
        yield seen


class _Functions(TorchFunctionMode):
    def __init__(self, seen: list[str], but_in: tuple[str, ...]) -> None:
        super().__init__()
        self._seen, self._but_in = seen, but_in

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, named = getattr(func, "__name__", ""), kwargs or {}
        if name in READ or (name in MADE and named.get("device") is not None) or _blocks(name, args, named):
            _note(self._seen, self._but_in, name)
        return func(*args, **named)


class _Operators(TorchDispatchMode):
    def __init__(self, seen: list[str], but_in: tuple[str, ...]) -> None:
        super().__init__()
        self._seen, self._but_in = seen, but_in

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(part in str(func) for part in OPERATORS):
            _note(self._seen, self._but_in, str(func))
        return func(*args, **(kwargs or {}))


def _blocks(name: str, args: Any, named: dict[str, Any]) -> bool:
    """Whether it copies to a device that is named, which blocks unless it is told not to."""
    devices = [each for each in (*args[1:], named.get("device")) if isinstance(each, torch.device | str)]
    return name == "to" and bool(devices) and not named.get("non_blocking")


def _note(seen: list[str], but_in: tuple[str, ...], what: str) -> None:
    stack = [frame for frame in traceback.extract_stack() if "/torch/" not in frame.filename]
    frames = [frame for frame in stack if not Path(frame.filename).resolve().is_relative_to(_TESTS)]
    if any(frame.name in but_in for frame in frames):
        return
    asked = frames[-1] if frames else stack[-1]
    place = "/".join(Path(asked.filename).parts[-2:])
    if "transformers" in asked.filename and what == "to":
        return  # from the device to itself: masks, angles
    line = f"{place} {asked.name}"
    # One read is seen twice: by what Python asked for, and by the operator below it.
    if not (what.startswith("aten.") and seen and seen[-1] == line):
        seen.append(line)
