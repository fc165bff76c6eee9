"""After a submission: when the run's turn has come, which sites take part and which do not, and how it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sealora_common.records.event_log import EventTail
from sealora_common.records.events import SitesReady
from sealora_common.records.names import EVENTS
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import RunStatus, Status

START_SECONDS = 60.0
"""What a run takes at most, besides the sites' own time, until it greets them: a process and its libraries."""
WAITING = frozenset({"unapproved", "queued"})
"""Conditions of a run that goes on without its submitter's doing, sooner or later."""
_POLL_SECONDS = 0.5
_TURN_SECONDS = 2.0
_AWAY_SECONDS = 300.0
_ENDED = {"failed": "has failed", "stopped": "was stopped", "finished": "is finished", "damaged": "is damaged"}


def wait_for_sites(directory: Path, status: Callable[[], Status], seconds: float) -> SitesReady | None:
    """Follows a run until it is known which sites take part.

    Args:
        directory: the run's.
        status: asks the server how everything is.
        seconds: how long to wait.

    Returns:
        What the server told of its sites; None if the time is up before, and the run goes on.

    Raises:
        DeploymentError: the run does not go on, for want of sites or for another reason; or no server runs any more.
    """
    tail = EventTail(directory / EVENTS)
    deadline = time.monotonic() + seconds
    while True:
        run = status_of_run(
            status(), directory.name
        )  # before the events are read: a run that is over has written them all
        told = next((entry.event for entry in tail.read() if isinstance(entry.event, SitesReady)), None)
        if told is not None:
            return told
        _require_going_on(run)
        if time.monotonic() >= deadline:
            return None
        time.sleep(_POLL_SECONDS)


def wait_for_turn(run: str, status: Callable[[], Status]) -> None:
    """Waits until a run that another person must approve, or that is in line, has begun, however long that takes.

    Raises:
        DeploymentError: it was refused or taken out of the line, or no server runs any more.
    """
    while (told := status_of_run(status(), run)).condition in WAITING:
        time.sleep(_TURN_SECONDS)
    if told.condition != "finished":
        _require_going_on(told)


def wait_for_end(run: str, status: Callable[[], Status]) -> str:
    """Waits until a run has ended, however long that takes; says how it was finished.

    A server that is started anew meanwhile goes on with the run, and so does the waiting.

    Raises:
        DeploymentError: it has failed, or was stopped; or the server has been away for too long.
    """
    away = 0.0
    while True:
        try:
            told = status_of_run(status(), run)
            away = 0.0
        except DeploymentError:
            away += _TURN_SECONDS
            if away > _AWAY_SECONDS:
                raise
        else:
            if told.condition == "finished":
                return told.said
            if told.condition not in WAITING:
                _require_going_on(told)
        time.sleep(_TURN_SECONDS)


def _require_going_on(run: RunStatus) -> None:
    if run.condition != "running" and run.condition not in WAITING:
        how = _ENDED[run.condition]
        raise DeploymentError(f"run {run.name} {how}: {run.said or 'resume it to see which sites take part'}")


def status_of_run(status: Status, name: str) -> RunStatus:
    """What the server tells of one run.

    Raises:
        DeploymentError: it does not know it.
    """
    for run in status.runs:
        if run.name == name:
            return run
    raise DeploymentError(f"the server knows no run {name} any more: see its log")
