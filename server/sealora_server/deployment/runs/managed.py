"""A run on a server, and the process that is to bring about what is wanted of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from sealora_common.errors import SealoraError, StorageError
from sealora_common.health.logs import fields
from sealora_common.records.event_log import EventLog
from sealora_common.records.events import OperatorActed, OperatorAction, ProcessEnded, RunFailed
from sealora_common.records.fold import StateTail
from sealora_common.records.names import EVENTS, REPORT, RUN_DIRECTORY, SUMMARY
from sealora_common.records.run_state import RunState
from sealora_common.roster import Roster
from sealora_common.show.quantities import names_text
from sealora_common.storage.durable import open_to_append
from sealora_server.deployment.directory import PRINTED
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import RunCondition, RunStatus
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.processes.process import ProcessSpec, RunningProcess
from sealora_server.deployment.runs.approving import RunApproval
from sealora_server.deployment.runs.bundle import build_bundle
from sealora_server.deployment.runs.host import RunHost
from sealora_server.deployment.runs.offers import Offers
from sealora_server.deployment.runs.progress import progress_text
from sealora_server.deployment.runs.queue import Wanted
from sealora_server.deployment.runs.serverapp_process import Outcome, ServerAppSettings
from sealora_server.deployment.runs.submission import Operation, check_next_roster
from sealora_server.run.store import RunStore
from sealora_server.view.outcome import write_outcome
from sealora_server.view.story import story

log = logging.getLogger(__name__)

_STOP_SECONDS = 10.0


class ManagedRun:
    """One run of the server."""

    def __init__(self, host: RunHost, directory: Path) -> None:
        self._host = host
        self.directory = directory
        self.name = directory.name
        self._operation = Operation.load(directory)
        self._process: RunningProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._flower_run: int | None = None
        self._last_words = ""
        self.restarts = 0
        self._offers = Offers(directory)
        self._approval = RunApproval(directory, required=host.server.config.approval.required)
        roster = Roster.load(directory / "roster.json")
        self._store = RunStore.open(directory)
        self._tail = StateTail(directory / EVENTS, RunState(roster=roster.names, rounds=self._store.recipe.rounds))
        self._tail.read()  # what was before this server stands in the log of an earlier one

    @property
    def condition(self) -> RunCondition:
        return self._operation.condition

    @property
    def wanted(self) -> Wanted | None:
        """Where it stands among the runs that are under way or in line; None if it is neither."""
        if self.condition not in {"running", "queued"}:
            return None
        return Wanted(self.name, frozenset(self.state.roster), self._operation.place)

    @property
    def state(self) -> RunState:
        """As its log told it at the last look."""
        return self._tail.state

    def look(self) -> RunState:
        """The state after what its events have told since the last look; they are told in the server's log, too."""
        steps = self._tail.steps()
        try:
            for line in story(steps):
                extra = fields(run=self.name, round=line.round, reason=line.reason)
                log.log(line.level, "run %s: %s", self.name, line.text, extra=extra)
        except Exception:  # what is wrong in a story never reaches the run, nor the server
            log.exception("run %s: its story could not be told", self.name)
        return self.state

    def acted(self, action: OperatorAction, person: Person) -> None:
        """Notes among the run's events that `person` has asked this of it."""
        self._note(OperatorActed(action=action, account=person.name))

    def start(self) -> None:
        """Begins, or goes on, if that is wanted; a run that is over and left no report, since the server was killed
        before it could, is given one."""
        if self.condition in {"finished", "failed"} and self._task is None and not (self.directory / SUMMARY).exists():
            self._task = asyncio.create_task(self._write_outcome(), name=f"outcome of run {self.name}")
        if self.condition == "running" and self._task is None:
            self._task = asyncio.create_task(self._keep_running(), name=f"run {self.name}")
            self._task.add_done_callback(self._ended)

    @property
    def is_at_work(self) -> bool:
        """Whether something is being done for it: its rounds, its report, or a delivery."""
        return self._task is not None and not self._task.done()

    def offer(self, online: Mapping[str, str]) -> bool:
        """Offers the adapter of a finished run to sites that lack it, if it is time; whether it does.

        Args:
            online: connected site -> when its session began.
        """
        if self.condition != "finished" or self.is_at_work or not self._offers.is_due(online):
            return False
        self._offers.made(online)
        self._task = asyncio.create_task(self._deliver(), name=f"delivery of run {self.name}")
        self._task.add_done_callback(self._offered)
        return True

    @property
    def offered_at(self) -> float:
        """When its adapter was last offered, on a clock that only goes forward; minus infinity if it never was."""
        return self._offers.made_at

    async def pause(self) -> None:
        """Ends the run's process; what is wanted of the run stays as it is."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        process, self._process = self._process, None
        if process is not None:
            await process.stop(_STOP_SECONDS)
        await self._end_flower_run()

    async def stop(self, person: Person) -> None:
        """Stops the run, takes it out of the line, or takes back what was asked for, until it is resumed.

        Raises:
            DeploymentError: it does not run, is not in line, and does not wait for approval.
        """
        if self.wanted is None and self.condition != "unapproved":
            raise DeploymentError(f"run {self.name!r} does not run: it is {self.condition}")
        self._want("stopped")
        self.acted("stop", person)
        await self.pause()
        self.look()
        await self._write_outcome()

    async def resume(self, person: Person, place: int = 0) -> None:
        """Goes on with the run, as `person` asks, or puts it in line at `place`; asks for approval if it has none.

        Raises:
            DeploymentError: it runs, is in line, waits for approval that is demanded, or has come to its end.
        """
        if self.condition in {"queued", "running", "finished"}:
            raise DeploymentError(f"run {self.name!r} cannot be resumed: it is {self.condition}")
        if self.condition == "unapproved" and self._approval.required:
            raise DeploymentError(f"run {self.name!r} waits for approval: {self._approval.wanted_text}")
        await self.pause()
        for page in (SUMMARY, REPORT):  # of how it ended then
            with contextlib.suppress(OSError):
                (self.directory / page).unlink()
        if self._approval.why_not():
            self._approval.ask(person)
            self._want("unapproved")
        else:
            self._want("queued" if place else "running", place=place)
        self.acted("resume", person)
        self.start()

    def approve(self, person: Person, looked_at: str, place: int) -> None:
        """Lets the run begin, or puts it in line at `place`, as `person` says, who may approve runs.

        Raises:
            DeploymentError: it does not wait for approval, or see `RunApproval.give`.
            StorageError: a file cannot be read or written.
        """
        self._approval.give(self.condition, person, looked_at)
        self._want("queued" if place else "running", place=place)
        self.acted("approve", person)
        self.start()

    def refuse(self, person: Person) -> None:
        """Ends the waiting for approval, as `person` says, who may approve runs; raises what `approve` does."""
        self._approval.require_waiting(self.condition)
        self._want("stopped", f"{person.name} refused to approve it")
        self.acted("refuse", person)

    def check_approval(self, person: Person, looked_at: str) -> None:
        """Raises what `approve` would."""
        self._approval.check(self.condition, person, looked_at)

    def begin(self) -> None:
        """Takes the run out of the line and starts it: its turn has come.

        Raises:
            StorageError: that could not be written; it stays in line.
        """
        self._want("running")
        log.info("run %s: its turn has come", self.name, extra=fields(run=self.name))
        self.start()

    def check_roster(self, roster: Roster) -> None:
        """Refuses a roster that the run's sites would refuse, or that nobody approved.

        Raises:
            DeploymentError: it is another coordinator's, names another server, may not follow the run's present one, or
                is not the one that was approved.
        """
        if self._approval.required and self.condition in {"unapproved", "queued", "running"}:
            raise DeploymentError(
                f"run {self.name!r} is {self.condition}, and with another roster it must be approved anew: stop it "
                "first, and resume it afterwards"
            )
        check_next_roster(self.directory, roster)

    def use_roster(self, roster: Roster, person: Person) -> None:
        """Puts `roster`, which `check_roster` has accepted, in place of the run's own, from its next round on, as
        `person` asks.

        Raises:
            StorageError: it could not be written.
        """
        roster.save(self.directory / "roster.json")
        self._tail.enrol(roster.names)
        self.acted("use_roster", person)

    def status(self, offline: frozenset[str] = frozenset(), ahead: tuple[str, ...] = ()) -> RunStatus:
        """What an operator is told of it.

        Args:
            offline: the registered sites that are not connected.
            ahead: the runs that it waits for, if it is in line.
        """
        state = self.look()
        waiting: tuple[str, ...] = ()
        said = self._operation.said
        if self.condition == "running":
            said = progress_text(state)
            waiting = state.waiting_for or tuple(sorted(offline & set(state.roster)))
        elif self.condition == "finished":
            said = progress_text(state)
        elif self.condition == "queued":
            said = f"in line behind {names_text(ahead)}" if ahead else "its turn has come"
        elif self.condition == "unapproved":
            said = self._approval.wanted_text
        return RunStatus(
            name=self.name,
            condition=self.condition,
            said=said,
            finished_rounds=state.rounds_finished,
            rounds=state.planned_rounds,
            waiting_for=waiting,
            turned_away=() if self.condition == "finished" else state.turned_away,
            approval=self._approval.status,
        )

    async def _keep_running(self) -> None:
        """One process after the other, until the run's end or until it cannot go on."""
        policy = self._host.policy()
        while True:
            if why_not := self._approval.why_not():
                self._fail(f"{why_not}: resume it, which asks for approval")
                return
            began = time.monotonic()
            try:
                status = await self._run_process()
                if self._concluded(status):
                    await self._write_outcome()
                    return
                why = f"its process ended with status {status}"
            except DeploymentError as error:
                why = str(error)
            self.restarts += 1
            delay = policy.delay_after(time.monotonic() - began)
            if delay is None:
                self._fail(f"it could not be kept running ({why}): mend that, then resume it")
                await self._write_outcome()
                return
            self._note(ProcessEnded(reason=why))
            await asyncio.sleep(delay)

    async def _deliver(self) -> None:
        """One process that offers the adapter to who lacks it. What becomes of it changes nothing of the run."""
        try:
            await self._run_process()
        except DeploymentError as error:
            log.warning("run %s: its adapter could not be offered: %s", self.name, error, extra=fields(run=self.name))
        self.look()

    def _offered(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("run %s: offering its adapter failed", self.name, exc_info=task.exception())

    async def _run_process(self) -> int:
        """Starts the run's process and waits for it; its exit status.

        Raises:
            DeploymentError: the SuperLink did not take the run.
        """
        async with self._host.starting:
            bundle, bundle_hash = build_bundle()
            # The name alone: sites are told this configuration.
            config = {RUN_DIRECTORY: self.name}
            self._flower_run, token = await asyncio.to_thread(
                self._host.superlink.start_run, bundle, bundle_hash, config
            )
        self._process = await self._host.start(self._spec(token), self._hear)
        status = await self._process.wait()
        self._process = None
        await self._end_flower_run()
        return status

    async def _end_flower_run(self) -> None:
        flower_run, self._flower_run = self._flower_run, None
        if flower_run is not None:
            with contextlib.suppress(DeploymentError):  # a SuperLink that is down has none to end
                await asyncio.to_thread(self._host.superlink.end_run, flower_run)

    def _concluded(self, status: int) -> bool:
        """Whether a process that ended with `status` leaves nothing to do."""
        state = self.look()
        if status == Outcome.FINISHED or self._store.is_finished:
            self._want("finished")
            return True
        if status == Outcome.FAILED:
            # On a full disk the event that says why could not be written; the process said it too.
            self._fail(state.failure or self._last_words or "its process failed and said nothing of why")
            return True
        return False

    async def _write_outcome(self) -> None:
        """Leaves a summary and a report of a run that began. What is wrong in them never reaches the run."""
        if self.state.started is None:
            return
        try:
            await asyncio.to_thread(write_outcome, self.directory)
        except SealoraError as error:
            log.warning("run %s: has no report: %s", self.name, error, extra=fields(run=self.name))
        except Exception:
            log.exception("run %s: its report could not be made", self.name)

    def _want(self, condition: RunCondition, said: str = "", *, place: int = 0) -> None:
        operation = Operation(condition=condition, said=said, place=place)
        operation.save(self.directory)
        self._operation = operation

    def _fail(self, said: str) -> None:
        if (self.state.ended, self.state.failure) != ("failed", said):
            self._note(RunFailed(reason=said))
        self.look()
        self._want("failed", said)

    def _note(self, event: OperatorActed | ProcessEnded | RunFailed) -> None:
        try:
            EventLog(self.directory / EVENTS).write(event)
        except StorageError as error:  # a full disk, say: what happened must not be lost with it
            what = event.action if isinstance(event, OperatorActed) else event.reason
            log.error("run %s: %s (%s)", self.name, what, error, extra=fields(run=self.name))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        said = str(error) if isinstance(error, SealoraError) else f"the server failed at it ({type(error).__name__})"
        log.error("run %s: %s", self.name, said, extra=fields(run=self.name))
        self._operation = Operation(condition="failed", said=said)

    def _spec(self, token: str) -> ProcessSpec:
        settings = ServerAppSettings(
            supervisor=self._host.supervisor,
            superlink_socket=self._host.server.superlink_socket,
            token=token,
            run_directory=self.directory,
            log=self._host.server.config.log,
            adapters=self._host.server.config.adapters,
        )
        return ProcessSpec(
            name=f"run {self.name}",
            module="sealora_server.deployment.runs.serverapp",
            settings=lambda: settings,
            environment={"FLWR_HOME": str(self._host.server.state / "flower")},
            directory=self._host.server.runs,
        )

    def _hear(self, line: str) -> None:
        self._last_words = line
        self._host.lines(f"run {self.name}", line)
        with contextlib.suppress(OSError, StorageError), open_to_append(self.directory / PRINTED) as file:
            file.write(line + "\n")
