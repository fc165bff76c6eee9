"""Files that survive a crash: written aside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sealora_common.config import LARGE, read_file, read_stream
from sealora_common.errors import StorageError, UnreadableError


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replaces `path` by `content` so that a reader, or a power cut, sees the old file or the new one.

    Args:
        path: the file to write; its directory is created if it is missing.
        content: the whole new content.
        mode: permission bits of the new file.

    Raises:
        StorageError: the file could not be written; the old file, if any, is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error


def create_once(path: Path) -> bool:
    """Makes an empty file, durably; whether it was not there before. Of several who try at once one succeeds.

    Raises:
        StorageError: the file could not be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _sync_directory(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise storage_error(path, error) from error
    return True


def append_line(path: Path, line: str) -> None:
    """Appends one line of text to `path` and flushes it to the disk.

    Raises:
        StorageError: the line could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line.rstrip("\n") + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(path, error) from error


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that `append_whole_lines` wrote, without their ends; none if it is not there.

    What follows the last line's end was cut short by a kill or a full disk. It counts as never written.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        return read_file(path, LARGE.longest).split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}): give this account the right to") from error
    except UnreadableError as error:
        raise _unreadable(path, error) from None


def append_whole_lines(path: Path, lines_after: Callable[[int], Sequence[bytes]]) -> None:
    """Appends lines to a file and flushes it to the disk; a line that was cut short before is taken away first.

    Args:
        path: the file, made if it is missing. Of several that append at once, one does after the other.
        lines_after: called with the number of lines that are there; the lines to append.

    Raises:
        StorageError: they could not be written. What part of them is there is whole lines and at most a torn one.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            content = read_stream(file, LARGE.longest)
            added = b"".join(line + b"\n" for line in lines_after(content.count(b"\n")))
            if added:
                file.truncate(content.rfind(b"\n") + 1)
                file.write(added)
                file.flush()
                os.fsync(file.fileno())
        if is_new:
            _sync_directory(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    except UnreadableError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: UnreadableError) -> StorageError:
    return StorageError(f"{path}: cannot be read ({error}): move it away, or restore it from a backup")


def storage_error(path: Path, error: OSError) -> StorageError:
    """Says in one sentence why `path` could not be written and what to do about it."""
    remedies = {
        errno.ENOSPC: "the disk is full: free some space",
        errno.EDQUOT: "the disk quota is used up: free some space or raise the quota",
        errno.EFBIG: "the file-size limit of this account is too small: raise it (ulimit -f)",
        errno.EACCES: "permission denied: give this account the right to write there",
        errno.EPERM: "permission denied: give this account the right to write there",
        errno.EROFS: "the file system is read-only: choose another directory",
        errno.ENOTDIR: "part of its path is a file, not a directory: choose another directory",
    }
    why = remedies.get(error.errno or 0, f"{error.strerror or error}: check the disk")
    return StorageError(f"cannot write {path}: {why}, then run the same command again")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
