"""Deleting a run: its directory gets a name that no run has, and then goes; a kill in between is finished later."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from sealora_common.errors import storage_error
from sealora_common.show.size_text import size_text
from sealora_common.storage.durable import rename_durably
from sealora_common.storage.lock import DirectoryLock

log = logging.getLogger(__name__)

_DELETED = ".deleted"


def delete_run(directory: Path) -> None:
    """Deletes the directory of a run, durably: once this has begun there is no such run any more.

    Raises:
        LockedError: somebody is at work on it: copies it, say.
        StorageError: it could not be deleted; nothing is, or what is left is deleted at the next start.
    """
    going = directory.with_name(f".{directory.name}{_DELETED}")
    try:
        if going.exists():
            shutil.rmtree(going)
        with DirectoryLock(directory, "this run"):
            rename_durably(directory, going)
        shutil.rmtree(going)
    except OSError as error:
        raise storage_error(going, error) from error


def finish_deletions(runs: Path) -> None:
    """Deletes what a kill has left of deletions in the directory of all runs."""
    for going in runs.glob(f".*{_DELETED}"):
        try:
            shutil.rmtree(going)
        except OSError as error:
            log.warning("%s", storage_error(going, error))


def what_is_lost(directory: Path) -> list[str]:
    """What goes with a run, a line each."""
    if not directory.is_dir():
        return []
    rounds = len(list(directory.glob("rounds/*/round.json")))
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    lines = [f"{directory}: {rounds} rounds, {size_text(size)}"]
    if rounds:
        lines.append("With it go the receipts, by which anybody can check who took part; sites keep those they have")
    faults = len(list(directory.glob("faults/*.fault")))
    if faults:
        lines.append(f"With it goes the evidence against {faults} of its sites")
    return lines
