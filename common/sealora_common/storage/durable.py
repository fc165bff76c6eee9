"""Files that survive a crash: written aside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sealora_common.config import LARGE, read_file, too_large
from sealora_common.errors import StorageError, UnreadableError, storage_error
from sealora_common.storage.lock import wait_for_lock
from sealora_common.storage.own_files import PRIVATE_FILE, directory_for, open_own, sync_directory

_BLOCK_BYTES = 2**16


def write_atomically(path: Path, content: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Replaces `path` by `content` so that a reader, or a power cut, sees the old file or the new one.

    Args:
        path: the file to write; its directory is made if it is missing. A symbolic link is replaced, not followed.
        content: the whole new content.
        mode: permission bits of the new file, whatever the umask.

    Raises:
        StorageError: the file could not be written, or its directory is in another account's hands (`own_files`); the
            old file, if any, is untouched.
    """
    try:
        descriptor, aside = tempfile.mkstemp(dir=directory_for(path), prefix=f".{path.name}.")
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
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error


def create_once(path: Path) -> bool:
    """Makes an empty file, durably; whether it was not there before. Of several who try at once one succeeds.

    Raises:
        StorageError: the file could not be made.
    """
    try:
        directory_for(path)
        descriptor = open_own(path, os.O_WRONLY | os.O_EXCL)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise storage_error(path, error) from error
    return True


def settle_file(path: Path, *, mode: int) -> None:
    """Flushes a file that a library wrote to the disk, and gives it the permission bits `mode`.

    Raises:
        StorageError: see `own_files.open_own`.
        OSError: it could not be flushed.
    """
    descriptor = open_own(path, os.O_RDWR, mode=mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: Path, line: str) -> None:
    """Appends one line of text to `path` and flushes it to the disk.

    Raises:
        StorageError: the line could not be written.
    """
    try:
        with open_to_append(path) as file:
            file.write(line.rstrip("\n") + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(path, error) from error


def open_to_append(path: Path) -> io.TextIOWrapper:
    """Opens a private text file (UTF-8) to add to its end; its directory is made if it is missing.

    Raises:
        StorageError: see `own_files.open_own`.
        OSError: it could not be opened for another reason.
    """
    directory_for(path)
    return io.TextIOWrapper(io.FileIO(open_own(path, os.O_WRONLY | os.O_APPEND), "a"), encoding="utf-8")


def rename_durably(source: Path, target: Path) -> None:
    """Gives a file or directory another name, in the same file system, and flushes the directory it is in then.

    Raises:
        StorageError: it could not be done.
    """
    try:
        os.replace(source, directory_for(target) / target.name)
        sync_directory(target.parent)
    except OSError as error:
        raise storage_error(target, error) from error


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
        directory_for(path)
        is_new = not path.exists()
        with os.fdopen(open_own(path, os.O_RDWR | os.O_APPEND), "a+b") as file:
            wait_for_lock(file.fileno())
            count, end = _whole_lines_in(file)
            added = b"".join(line + b"\n" for line in lines_after(count))
            if added:
                file.truncate(end)
                file.write(added)
                file.flush()
                os.fsync(file.fileno())
        if is_new:
            sync_directory(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    except UnreadableError as error:
        raise _unreadable(path, error) from None


def _whole_lines_in(file: io.BufferedRandom) -> tuple[int, int]:
    """How many lines there are, and the byte at which the last one has ended.

    Read in small blocks: what is appended to each round is as large as all rounds before, and blocks of ever other
    sizes leave an allocator's heap in pieces that it cannot give back.

    Raises:
        UnreadableError: the file is larger than is read.
    """
    if os.fstat(file.fileno()).st_size > LARGE.longest:
        raise too_large(LARGE.longest)
    count = end = position = 0
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        lines = block.count(b"\n")
        if lines:
            count, end = count + lines, position + block.rfind(b"\n") + 1
        position += len(block)
    return count, end


def _unreadable(path: Path, error: UnreadableError) -> StorageError:
    return StorageError(f"{path}: cannot be read ({error}): move it away, or restore it from a backup")
