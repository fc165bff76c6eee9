"""The files of a run as they are copied, so that the copy is a run from which one can go on, also while it is at work.

What says that something was reached is read before what it rests on: whether the run is over before its evaluation,
that before its rounds, and a round is whole once its directory is there. So a copy may be a little behind what the run
was when the copying ended, and is never ahead of itself.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from sealora_common.archive.write import ArchiveWriter
from sealora_common.errors import StorageError
from sealora_common.records.names import EVENTS
from sealora_server.run.store import RunStore
from sealora_server.run.stored.records import EVALUATION, RECORD, RESULT
from sealora_server.upkeep.retention import adapters_held

_OPERATION = "operation.json"
_ADAPTER = "adapter"
_ROUNDS = "rounds"
_GROW = (EVENTS, "serverapp.log", "receipts.jsonl")
"""Files that are appended to: what is after the last whole line is not copied."""
_STEP = 2**20


def add_run(writer: ArchiveWriter, store: RunStore, prefix: str = "") -> int:
    """Adds the files of a run to an archive, under `prefix`; returns how many of its rounds are in it.

    Raises:
        StorageError: a file cannot be read, or the archive not written.
        OSError: the same.
    """
    directory = store.directory
    with adapters_held(directory):
        for name in (_OPERATION, EVENTS, RESULT):
            _add_if_there(writer, directory, Path(name), prefix)
        if f"{prefix}{RESULT}" in writer.paths:  # written after it: before, it may be half there, and is made anew
            _add_tree(writer, directory, Path(_ADAPTER), prefix)
        _add_if_there(writer, directory, Path(EVALUATION), prefix)
        rounds = store.finished_rounds
        for number in range(1, rounds + 1):
            place = store.round_directory(number).relative_to(directory)
            _add_tree(writer, directory, place, prefix)
            if f"{prefix}{place.as_posix()}/{RECORD}" not in writer.paths:
                raise StorageError(f"{directory / place}: went away while the run was copied: run the command again")
        for path in sorted(directory.iterdir()):
            name = path.name
            if name.startswith(".") or name in {_OPERATION, EVENTS, RESULT, EVALUATION, _ADAPTER, _ROUNDS}:
                continue
            _add_tree(writer, directory, Path(name), prefix)
    return rounds


def _add_tree(writer: ArchiveWriter, directory: Path, path: Path, prefix: str) -> None:
    """A file, or all files of a directory; of temporary files, whose names begin with a dot, none."""
    whole = directory / path
    if whole.is_symlink():
        raise StorageError(f"{whole}: is a symbolic link, through which nothing is copied: put the file in its place")
    if not whole.is_dir():
        if not _add_if_there(writer, directory, path, prefix):
            raise StorageError(f"{whole}: went away while the run was copied: run the same command again")
        return
    for each in sorted(whole.iterdir()):
        if not each.name.startswith("."):
            _add_tree(writer, directory, path / each.name, prefix)


def _add_if_there(writer: ArchiveWriter, directory: Path, path: Path, prefix: str) -> bool:
    """Adds a file that the run need not have reached yet; whether it was there."""
    try:
        with (directory / path).open("rb") as file:
            found = os.fstat(file.fileno())
            length, public = found.st_size, bool(found.st_mode & stat.S_IROTH)
            if path.name in _GROW:
                length = _whole_lines(file, length)
            writer.add_file(f"{prefix}{path.as_posix()}", file, length, public=public)
    except FileNotFoundError:
        return False
    return True


def _whole_lines(file: io.BufferedReader, length: int) -> int:
    """Bytes up to the end of the last whole line of the first `length`; the file stands at its beginning after it."""
    end = length
    while end:
        start = max(0, end - _STEP)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    file.seek(0)
    return end
