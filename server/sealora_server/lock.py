"""One process a directory: a lock that the kernel lets go of when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from sealora_common.errors import StorageError, storage_error
from sealora_common.storage.durable import open_lock


class LockedError(StorageError):
    """Another process holds the directory."""


class DirectoryLock:
    """Holds `directory` for this process while it is entered as a context manager (flock(2) on a file in it).

    Args:
        directory: what is locked; it must exist.
        purpose: what the directory is, for the error: "this run", for example.
        name: the lock file's name. The file stays; only the lock on it counts.
    """

    def __init__(self, directory: Path, purpose: str, name: str = ".lock") -> None:
        self._path = directory / name
        self._purpose = purpose
        self._descriptor = -1

    def __enter__(self) -> DirectoryLock:
        """Takes the lock.

        Raises:
            LockedError: another process holds it.
            StorageError: the lock file cannot be written.
        """
        descriptor = open_lock(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace")
            os.close(descriptor)
            raise LockedError(
                f"{self._path.parent}: process {holder or 'unknown'} is at work on {self._purpose} already: "
                "leave it to its work, or stop it first"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise storage_error(self._path, error) from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
