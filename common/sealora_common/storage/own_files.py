"""Directories and files of this account: made with modes that no umask widens, and never through another's hands.

The one place that makes either, in every package; `tests/test_own_files.py` refuses code that goes around it. A
directory that holds files of ours must be a real one, no symbolic link, and nobody else may be able to put something in
its place or into it: it belongs to this account or to root, and is writable by this account alone. Writable by all,
but sticky, will do (`/tmp`), since nobody can rename or remove another's file there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sealora_common.errors import StorageError, storage_error

PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o644
PRIVATE_DIRECTORY = 0o700
PUBLIC_DIRECTORY = 0o755
_OTHERS = 0o077


def keep_to_this_account() -> None:
    """Makes everything private that libraries and child processes make from here on: for a command's first line."""
    os.umask(_OTHERS)


@contextlib.contextmanager
def kept_to_this_account() -> Iterator[None]:
    """The same while it lasts. One thread at a time: a umask is the whole process's."""
    former = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(former)


def make_directory(path: Path, *, mode: int = PRIVATE_DIRECTORY) -> None:
    """Makes `path`, and what is missing above it, with the permission bits `mode`; one that is there gets them too.

    Raises:
        StorageError: it could not be made, is a symbolic link, or is in another account's hands.
    """
    _make(path, mode)
    try:
        if os.geteuid() == path.stat().st_uid and stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
    except OSError as error:
        raise storage_error(path, error) from error


def make_new_directory(path: Path) -> bool:
    """Makes `path`, and what is missing above it, for this account alone; whether it was not there before.

    Of several who try at once one succeeds.

    Raises:
        StorageError: it could not be made, or what it would be in is in another account's hands.
    """
    _make(path.parent, PRIVATE_DIRECTORY)
    try:
        path.mkdir(mode=PRIVATE_DIRECTORY)
    except FileExistsError:
        return False
    except OSError as error:
        raise storage_error(path, error) from error
    return True


def directory_for(path: Path) -> Path:
    """The directory of the file `path`; made for this account alone if it is missing, left as it is otherwise.

    Raises:
        StorageError: it could not be made, is a symbolic link, or is in another account's hands.
    """
    _make(path.parent, PRIVATE_DIRECTORY)
    return path.parent


def open_own(path: Path, flags: int, *, mode: int = PRIVATE_FILE) -> int:
    """Opens a file to write, and gives it the permission bits `mode`, new or not; see open(2).

    Args:
        path: the file, in a directory that is there.
        flags: of open(2); `O_CREAT`, `O_NOFOLLOW` and `O_CLOEXEC` are added.
        mode: permission bits.

    Raises:
        StorageError: its directory may not be used, or it is a symbolic link, no file, or another account's.
        OSError: it could not be opened for another reason; `storage_error` says it.
    """
    _require_own(path.parent)
    if path.is_symlink():
        raise StorageError(f"{path}: is a symbolic link, through which nothing is written: remove the link")
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{path}: is no file: move it away, then run the same command again")
        if status.st_uid != os.geteuid():
            raise StorageError(f"{path}: belongs to another account: move it away, or run this as that account")
        if stat.S_IMODE(status.st_mode) != mode:
            os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_directory(directory: Path) -> None:
    """Flushes a directory: a file is there after a power cut only if its name is.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(path: Path, mode: int) -> None:
    try:
        missing = []
        for place in (path, *path.parents):
            if place.is_symlink() or place.exists():
                break
            missing.append(place)
        for place in reversed(missing):
            try:
                place.mkdir(mode=mode & PRIVATE_DIRECTORY)
            except FileExistsError:  # somebody was faster: it is judged like any other
                continue
            place.chmod(mode)  # the umask had its say in what mkdir made
        for place in {path, *missing}:
            _require_own(place)
    except OSError as error:
        raise storage_error(path, error) from error


def _require_own(directory: Path) -> None:
    status = directory.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise StorageError(f"{directory}: is a symbolic link, through which nothing is written: name its target")
    if not stat.S_ISDIR(status.st_mode):
        raise storage_error(directory, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if status.st_uid not in (os.geteuid(), 0):
        raise StorageError(
            f"{directory}: belongs to another account, which could replace what is written there: choose another "
            "directory, or run this as that account"
        )
    if status.st_mode & stat.S_ISVTX:
        return
    # A group with the account's own number is its private group, as Debian makes them, or the one that Kubernetes gives
    # a volume (fsGroup): no other account is in it.
    group = status.st_mode & stat.S_IWGRP and status.st_gid != os.geteuid()
    if status.st_mode & stat.S_IWOTH or group:
        raise StorageError(
            f"{directory}: other accounts can write there, and could replace what is written: chmod go-w it, or choose "
            "another directory"
        )
