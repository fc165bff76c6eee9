"""Deleting a run: its directory gets a name that no run has, and then goes; a kill in between is finished later."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from sealora_common.errors import storage_error
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
