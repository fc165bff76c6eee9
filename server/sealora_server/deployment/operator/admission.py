"""After a submission: which sites take part in the run, which do not and why, known before its first round."""

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
_POLL_SECONDS = 0.5
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
        run = _run(status(), directory.name)  # before the events are read: a run that is over has written them all
        told = next((entry.event for entry in tail.read() if isinstance(entry.event, SitesReady)), None)
        if told is not None:
            return told
        if run.condition != "running":
            how = _ENDED[run.condition]
            raise DeploymentError(f"run {run.name} {how}: {run.said or 'resume it to see which sites take part'}")
        if time.monotonic() >= deadline:
            return None
        time.sleep(_POLL_SECONDS)


def _run(status: Status, name: str) -> RunStatus:
    for run in status.runs:
        if run.name == name:
            return run
    raise DeploymentError(f"the server knows no run {name} any more: see its log")
