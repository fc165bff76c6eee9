"""What runs need of the server around them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.processes.process import ProcessSpec, RunningProcess
from sealora_server.deployment.processes.restarts import RestartPolicy
from sealora_server.deployment.superlink.client import SuperLinkClient


@dataclass(frozen=True)
class RunHost:
    """What runs need of the server around them.

    Attributes:
        server: its directory.
        supervisor: its process id.
        superlink: the client of its SuperLink.
        starting: held while a run is started, so that each process gets the task of its own run.
        lines: gets (name of the process, line).
        start: starts a process; what it says goes to the second argument, line by line.
        policy: makes what says whether and when a run's process is started again.
    """

    server: ServerDirectory
    supervisor: int
    superlink: SuperLinkClient
    starting: asyncio.Lock
    lines: Callable[[str, str], None]
    start: Callable[[ProcessSpec, Callable[[str], None]], Awaitable[RunningProcess]] = RunningProcess.start
    policy: Callable[[], RestartPolicy] = RestartPolicy
