"""Runs in which this site takes no further part: it was put back from a backup in their midst, and what left since is
not known. Kept as empty files, `closed-runs/RUN`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sealora_client.round.run_id import RUN_ID
from sealora_common.errors import OrderRefusedError
from sealora_common.storage.durable import create_once

CLOSED = "closed-runs"
"""Their directory, in a site's."""


def close_runs(directory: Path, runs: Iterable[str]) -> None:
    """Takes the site in `directory` out of these runs for good.

    Raises:
        StorageError: that could not be written down.
    """
    for run in runs:
        if RUN_ID.fullmatch(run):
            create_once(directory / CLOSED / run)


def require_open(directory: Path, run: str) -> None:
    """Refuses what is asked of a run that is closed.

    Raises:
        OrderRefusedError: it is.
    """
    if RUN_ID.fullmatch(run) and (directory / CLOSED / run).exists():
        raise OrderRefusedError(
            "this site was put back from a backup in the midst of this run, and takes no further part in it: go on "
            "without it"
        )
