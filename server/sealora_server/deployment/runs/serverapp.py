"""The process of one run: takes the run's task from the SuperLink and drives the rounds with the installed ServerApp.

It does what `flwr-serverapp` does, but over the SuperLink's Unix socket, with its token out of sight, and without
unpacking the bundle: the code that runs is the code that is installed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import httpx
from flwr.common.constant import SubStatus
from flwr.common.serde import run_from_proto
from flwr.proto.runtime_pb2 import PullTaskInputRequest, PushTaskOutputRequest
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity

from sealora_common.config import LINE, from_json, read_stream
from sealora_common.errors import SealoraError, StorageError
from sealora_common.health.logs import set_up_logs
from sealora_common.records.event_log import EventLog
from sealora_common.records.events import RunFailed, RunInterrupted
from sealora_common.records.names import EVENTS
from sealora_common.storage.lock import LockedError
from sealora_server.app import serve
from sealora_server.deployment.processes.process import die_with
from sealora_server.deployment.runs.serverapp_process import Outcome, ServerAppSettings
from sealora_server.deployment.runs.socket_grid import SocketGrid
from sealora_server.run.store import RunStore

log = logging.getLogger(__name__)


class Stopped(BaseException):
    """The process was told to stop. Not an `Exception`: nothing in between is to catch it."""


def run_task(settings: ServerAppSettings) -> Outcome:
    """Runs the task to its end, and tells the SuperLink how it ended."""
    grid = SocketGrid(settings.superlink_socket, settings.token)
    heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(grid.client))
    outcome = Outcome.LOST
    try:
        heartbeat.start()
        task = grid.client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = task.task_id, task.run.run_id
        TaskIdentity.node_id = task.context.node_id
        grid.set_run(run_from_proto(task.run))
        outcome = _serve(grid, settings.run_directory)
    except (httpx.HTTPError, RunNotRunningException, KeyboardInterrupt) as error:
        # Flower's client raises the interrupt itself when the SuperLink no longer takes the token.
        log.error("the SuperLink lost this run (%s): it goes on in a new process", type(error).__name__)
    except Stopped:
        outcome = Outcome.STOPPED
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _tell(grid, outcome)
    return outcome


def _serve(grid: SocketGrid, run_directory: Path) -> Outcome:
    try:
        serve(grid, run_directory)
    except LockedError as error:
        log.error("%s", error)
        return Outcome.LOST
    except SealoraError as error:
        if not _note(run_directory, RunFailed(reason=str(error))):  # else the server tells of it
            log.error("%s", error)
        return Outcome.FAILED
    except Stopped:
        store = RunStore.open(run_directory)
        if not store.is_finished:  # else it was a delivery that was interrupted
            _note(run_directory, RunInterrupted(round=store.finished_rounds + 1))
        raise
    return Outcome.FINISHED


def _note(run_directory: Path, event: RunFailed | RunInterrupted) -> bool:
    """Whether it could be written: not on a full disk, say."""
    try:
        EventLog(run_directory / EVENTS).write(event)
    except StorageError:
        return False
    return True


def _tell(grid: SocketGrid, outcome: Outcome) -> None:
    statuses = {Outcome.FINISHED: SubStatus.COMPLETED, Outcome.STOPPED: SubStatus.STOPPED}
    status = statuses.get(outcome, SubStatus.FAILED)
    grid._retry_invoker.max_tries = 1
    with contextlib.suppress(httpx.HTTPError, RunNotRunningException):
        grid.client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=outcome.name.lower()))
    grid.close()


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def main() -> None:
    """Entry point of the process."""
    settings = from_json(ServerAppSettings, read_stream(sys.stdin.buffer, LINE.longest))
    die_with(settings.supervisor)
    set_up_logs(settings.log)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    outcome = Outcome.CRASHED
    try:
        outcome = run_task(settings)
    except Stopped:
        outcome = Outcome.STOPPED
    except Exception:
        log.exception("the ServerApp failed unexpectedly")
    # Flower's threads (heartbeats, retries) may be asleep; nothing of theirs is worth waiting for.
    logging.shutdown()
    os._exit(outcome)


if __name__ == "__main__":
    main()
