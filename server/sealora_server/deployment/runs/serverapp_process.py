"""What the supervisor and a run's process tell each other: the settings it starts with, and how it ended."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sealora_common.health.logs import LogFormat
from sealora_server.upkeep.retention import AdapterRetention


class Outcome(IntEnum):
    """How the process ended: its exit status."""

    FINISHED = 0
    CRASHED = 1
    FAILED = 10
    """The run cannot go on until somebody mends something; its last event says what."""
    STOPPED = 11
    """It was told to stop."""
    LOST = 12
    """The SuperLink went away or lost the run: a new process can go on with it."""


class ServerAppSettings(BaseModel):
    """What the supervisor tells this process on its standard input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    supervisor: int
    """Process id."""
    superlink_socket: Path
    token: str
    """Of the run's task."""
    run_directory: Path
    log: LogFormat
    adapters: AdapterRetention
