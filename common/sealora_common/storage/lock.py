"""The one file lock: of the kernel (flock(2)), which lets go of it when its holder dies, however it dies.

The file stays; only the lock on it counts. It is opened as all files of ours are (`own_files.open_own`): never through
a symbolic link or in a directory that another account could change. That is why no library does it: `filelock` opens
the file itself, and makes do with a file that a killed holder leaves behind where the file system has no locks.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sealora_common.errors import StorageError, storage_error
from sealora_common.storage.own_files import open_own

_POLL_SECONDS = 0.5


class LockedError(StorageError):
    """Another process holds the lock.

    Attributes:
        holder: its process id, if it wrote that into the file; may be empty.
    """

    def __init__(self, sentence: str, holder: str = "") -> None:
        super().__init__(sentence)
        self.holder = holder


@contextmanager
def locked(path: Path, *, seconds: float | None = 0.0) -> Iterator[int]:
    """Holds the lock on the file `path`, whose directory must exist; the file's descriptor.

    Args:
        path: the lock's file, made if it is missing.
        seconds: how long to wait for whoever holds it, 0 not at all; None until it is free.

    Raises:
        LockedError: another process (or another `locked` in this one) holds it.
        StorageError: the file cannot be opened or locked.
    """
    try:
        descriptor = open_own(path, os.O_RDWR)
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        _take(path, descriptor, seconds)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock on the file `path`; makes no file and waits for nobody.

    It looks by taking a lock that others may share, for an instant.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def wait_for_lock(descriptor: int) -> None:
    """Locks an open file as soon as nobody else has it locked; closing the descriptor lets go of it.

    Raises:
        OSError: it cannot be locked.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX)


class DirectoryLock:
    """Holds `directory` for this process while it is entered as a context manager.

    Args:
        directory: what is locked; it must exist.
        purpose: what the directory is, for the error: "this run", for example.
        name: the lock file's name.
    """

    def __init__(self, directory: Path, purpose: str, name: str = ".lock") -> None:
        self._path = directory / name
        self._purpose = purpose
        self._held = locked(self._path)

    def __enter__(self) -> DirectoryLock:
        """Takes the lock.

        Raises:
            LockedError: another process holds it.
            StorageError: the lock file cannot be written.
        """
        try:
            descriptor = self._held.__enter__()
        except LockedError as error:
            raise LockedError(
                f"{self._path.parent}: process {error.holder or 'unknown'} is at work on {self._purpose} already: "
                "leave it to its work, or stop it first",
                error.holder,
            ) from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except OSError as error:
            self._held.__exit__(None, None, None)
            raise storage_error(self._path, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(None, None, None)


def _take(path: Path, descriptor: int, seconds: float | None) -> None:
    ends = time.monotonic() + (seconds or 0.0)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if seconds is None else fcntl.LOCK_NB))
                return
            except BlockingIOError:
                if time.monotonic() >= ends:
                    holder = os.pread(descriptor, 20, 0).decode(errors="replace")
                    raise LockedError(
                        f"{path}: another process holds this lock: wait until it is done, or stop it", holder
                    ) from None
            time.sleep(_POLL_SECONDS)
    except OSError as error:
        raise storage_error(path, error) from error
