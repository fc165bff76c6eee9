"""What a command takes of this machine: the memory of all its processes together, and its time."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SECONDS_BETWEEN = 0.5


@dataclass(frozen=True)
class Taken:
    """What a command took.

    Attributes:
        status: its exit status.
        peak: most bytes that it and its descendants held at once, what they share counted once (PSS), looked at twice a
            second.
        peak_alone: most bytes that its own process held (RSS), to the page.
        seconds: from its start to its end.
        said: what it wrote.
    """

    status: int
    peak: int
    peak_alone: int
    seconds: float
    said: str


def taken(command: Sequence[str | Path], environment: Mapping[str, str], *, output: Path, timeout: float) -> Taken:
    """Runs a command to its end.

    Args:
        command: with its arguments.
        environment: of this process's; these are added.
        output: a file for what it writes.
        timeout: seconds after which it is stopped.

    Raises:
        TimeoutError: it took longer.
    """
    started = time.monotonic()
    peak = 0
    with output.open("wb") as file:
        process = subprocess.Popen(
            [str(word) for word in command], env=os.environ | dict(environment), stdout=file, stderr=subprocess.STDOUT
        )
    tree = psutil.Process(process.pid)
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak = max(peak, _held(tree))
        if time.monotonic() - started > timeout:
            for each in [*tree.children(recursive=True), tree]:
                each.kill()
            raise TimeoutError(f"{command[0]} took more than {timeout:.0f} s: {output.read_text()[-2000:]}")
        time.sleep(_SECONDS_BETWEEN)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Taken(
        status=process.returncode,
        peak=peak,
        peak_alone=usage.ru_maxrss * 1024,
        seconds=time.monotonic() - started,
        said=output.read_text(errors="replace"),
    )


def _held(tree: psutil.Process) -> int:
    try:
        processes = [tree, *tree.children(recursive=True)]
    except psutil.Error:
        return 0
    held = 0
    for process in processes:
        try:
            held += process.memory_full_info().pss
        except psutil.Error:  # it has just ended
            continue
    return held
