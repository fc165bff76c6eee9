"""A process that must be there as long as the server is: started, watched, started again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable

from sealora_common.errors import SealoraError
from sealora_common.health.logs import fields
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import ProcessStatus
from sealora_server.deployment.processes.process import ProcessSpec, RunningProcess
from sealora_server.deployment.processes.restarts import QUICK_SECONDS, RestartPolicy

log = logging.getLogger(__name__)

Lines = Callable[[str], None]


class Service:
    """Keeps the process of `spec` running.

    Args:
        spec: how it is started.
        lines: gets what it says.
        when_started: awaited after each start, for what must be done anew then; tried again until it succeeds.
        again_after: seconds between two such attempts.
        policy: makes what says whether and when it is started again.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        lines: Lines,
        when_started: Callable[[], Awaitable[None]] | None = None,
        *,
        again_after: float = 2.0,
        policy: Callable[[], RestartPolicy] = RestartPolicy,
    ) -> None:
        self._spec = spec
        self._lines = lines
        self._when_started = when_started
        self._again_after = again_after
        self._policy = policy
        self._process: RunningProcess | None = None
        self._last_words = ""
        self.restarts = 0

    @property
    def name(self) -> str:
        """What people call it."""
        return self._spec.name

    async def keep_running(self) -> None:
        """Starts the process and starts it again whenever it ends, until this is cancelled.

        Raises:
            DeploymentError: it died quickly too often.
        """
        policy = self._policy()
        while True:
            self._process = await RunningProcess.start(self._spec, self._hear)
            setting_up = asyncio.create_task(self._set_up())
            try:
                status = await self._process.wait()
            finally:
                setting_up.cancel()
            alive = time.monotonic() - self._process.started
            self._process = None
            self.restarts += 1
            delay = policy.delay_after(alive)
            how = _how(status)
            if delay is None:
                raise DeploymentError(
                    f"{self._spec.name} {how} {policy.quick_deaths} times within {QUICK_SECONDS:.0f} s of its start "
                    f"({self._last_words or 'it said nothing'}): mend that, then start the server again"
                )
            log.warning(
                "%s %s: starting it again", self._spec.name, how, extra=fields(process=self._spec.name, status=status)
            )
            await asyncio.sleep(delay)

    async def stop(self, patience: float) -> None:
        """Ends the process, if it runs. `keep_running` must have been cancelled before."""
        process, self._process = self._process, None
        if process is not None:
            await process.stop(patience)

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, if it runs."""
        if self._process is not None:
            self._process.send(number)

    @property
    def status(self) -> ProcessStatus:
        """What an operator is told of it."""
        process = self._process
        return ProcessStatus(
            name=self._spec.name,
            pid=process.pid if process else None,
            restarts=self.restarts,
            seconds=round(time.monotonic() - process.started, 1) if process else 0.0,
        )

    def _hear(self, line: str) -> None:
        self._last_words = line.strip() or self._last_words
        self._lines(line)

    async def _set_up(self) -> None:
        while self._when_started is not None:
            try:
                await self._when_started()
            except SealoraError as error:
                log.error("%s: it is tried again", error)
                await asyncio.sleep(self._again_after)
            else:
                return


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"
