"""The processes that a supervisor starts: none of them outlives it, and each gets its settings where nobody reads them.

A process is started with its settings on its standard input, so that no secret stands on a command line, and its
output comes back line by line. The kernel ends it when the supervisor dies (PR_SET_PDEATHSIG, prctl(2)).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from sealora_common.network.proxy import without_proxies
from sealora_server.deployment.errors import DeploymentError

_PR_SET_PDEATHSIG = 1
_LINE_BYTES = 64 * 1024


def die_with(supervisor: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Asks the kernel to send this process the signal `how` when its parent, process `supervisor`, dies.

    Raises:
        SystemExit: the parent is dead already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != supervisor:
        sys.exit("the supervisor died before this process was up")


@dataclass(frozen=True)
class ProcessSpec:
    """How a process is started.

    Attributes:
        name: what people call it.
        module: the Python module that is its program.
        settings: a function that gives what it reads on its standard input, called anew at each start.
        descriptors: open files it inherits.
        environment: variables it gets besides those of `clean_environment`.
        directory: its working directory.
        has_children: whether it starts processes of its own, which must end with it.
    """

    name: str
    module: str
    settings: Callable[[], BaseModel]
    descriptors: Sequence[int] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    has_children: bool = False


class RunningProcess:
    """A process that was started; `lines` gets what it says."""

    def __init__(
        self, process: asyncio.subprocess.Process, lines: Callable[[str], None], *, has_children: bool = False
    ) -> None:
        self._process = process
        self._has_children = has_children
        self.pid = process.pid
        self.started = time.monotonic()
        self._reading = asyncio.create_task(self._read(lines))

    @classmethod
    async def start(cls, spec: ProcessSpec, lines: Callable[[str], None]) -> RunningProcess:
        """Starts `spec`.

        Raises:
            DeploymentError: the system refused to start it.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", spec.module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=tuple(spec.descriptors),
                env={**clean_environment(), **spec.environment},
                cwd=spec.directory,
                start_new_session=True,
                limit=_LINE_BYTES,
            )
        except OSError as error:
            raise DeploymentError(f"{spec.name}: cannot be started ({error.strerror}): free some memory") from None
        running = cls(process, lines, has_children=spec.has_children)
        assert process.stdin is not None  # noqa: S101 (a pipe was asked for)
        process.stdin.write(spec.settings().model_dump_json().encode())
        process.stdin.close()  # once it has taken what was written; if it died at once, its exit status tells
        return running

    async def wait(self) -> int:
        """Waits for its end. Negative: minus the number of the signal that ended it."""
        await self._exited()
        if self._has_children:  # which hold its output open, and would be waited for
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        status = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._reading), timeout=2.0)
        self._reading.cancel()
        return status

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, unless it has ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, patience: float) -> int:
        """Asks it to end, and ends it after `patience` seconds."""
        self.send(signal.SIGTERM)
        try:
            return await asyncio.wait_for(asyncio.shield(self.wait()), timeout=patience)
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()

    async def _exited(self) -> None:
        """Waits for the process itself, whoever else holds its output open (pidfd_open(2))."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def _read(self, lines: Callable[[str], None]) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 (a pipe was asked for)
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit: it was dropped
                continue
            if not line:
                return
            lines(line.decode(errors="replace").rstrip("\n"))


def clean_environment() -> dict[str, str]:
    """This process's environment, with Flower's own settings replaced by those a server runs with."""
    kept = {name: value for name, value in without_proxies(os.environ).items() if not name.startswith("FLWR_")}
    return {
        **kept,
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PYTHONUNBUFFERED": "1",
    }
