"""`logs/server.log`: what the server and its processes say, in one file that does not grow without end."""

from __future__ import annotations

import contextlib
import io
import logging.handlers
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sealora_common.errors import storage_error
from sealora_common.health.logs import SafeFormatter
from sealora_common.records.names import EVENTS
from sealora_common.show.quantities import names_text
from sealora_common.show.safe_text import safe_text
from sealora_common.show.say import say
from sealora_common.storage.durable import open_to_append
from sealora_server.deployment.directory import PRINTED, ServerDirectory, run_name
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.front.rules import RateLimit
from sealora_server.view.story import told_lines

_BYTES = 10 * 2**20
_KEPT = 5
_LONGEST_LINE = 2**16
_LONGEST_PIECE = 2**20  # of a line that others wrote, read at a time
_FOLLOW_SECONDS = 0.3
# Flower writes a line for every request that it refuses, and any stranger can make requests.
_LINES_PER_SECOND = 10
_LINES_AT_ONCE = 200


def _same_file(one: os.stat_result, path: Path) -> bool:
    try:
        other = path.stat()
    except FileNotFoundError:
        return False
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


class _OwnFiles(logging.handlers.RotatingFileHandler):
    def _open(self) -> io.TextIOWrapper:
        return open_to_append(Path(self.baseFilename))

    def emit(self, record: logging.LogRecord) -> None:
        """Writes to the file that has the name now: whoever rotates logs by moving them need not tell anybody."""
        self._take_new_file()
        super().emit(record)

    def _take_new_file(self) -> None:
        stream = self.stream
        with contextlib.suppress(OSError, ValueError):
            if stream is None or _same_file(os.fstat(stream.fileno()), Path(self.baseFilename)):
                return
            self.stream = self._open()
            stream.close()


class LogFile(io.TextIOBase):
    """A text stream whose lines go to standard error and to a file that is rotated.

    Args:
        path: the file.
        names: whether a process's lines are marked with its name.

    Raises:
        StorageError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, names: bool = True) -> None:
        try:
            self._handler = _OwnFiles(path, maxBytes=_BYTES, backupCount=_KEPT, encoding="utf-8")
        except OSError as error:
            raise storage_error(path, error) from error
        self._handler.setFormatter(SafeFormatter("%(message)s", longest=_LONGEST_LINE))
        self._handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk: stderr remains
        self._names = names
        self._limit = RateLimit(_LINES_PER_SECOND, _LINES_AT_ONCE)
        self._left_out: dict[str, int] = {}

    def take(self, process: str, line: str) -> None:
        """A line of one of the server's processes; too many at once are counted and left out."""
        if not self._limit.allows(process, time.monotonic()):
            self._left_out[process] = self._left_out.get(process, 0) + 1
            return
        left_out = self._left_out.pop(process, 0)
        if left_out:
            logging.getLogger(__name__).warning("%s: %d lines were left out here", process, left_out)
        self.write(f"[{process}] {line}" if self._names else line)

    def write(self, text: str) -> int:
        """Takes one or more whole lines."""
        for line in text.rstrip("\n").split("\n"):
            self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, line, (), None))
            with contextlib.suppress(OSError):
                say(safe_text(line, _LONGEST_LINE), to=sys.stderr)
        return len(text)

    def close(self) -> None:
        """Closes the file."""
        self._handler.close()
        super().close()


def shown_log(server: ServerDirectory, run: str | None, *, printed: bool, follow: bool) -> Iterator[str]:
    """The lines of a server's log, or of the story of one of its runs.

    Args:
        server: the server's directory.
        run: the run's name; None for the server itself.
        printed: what the run's process printed, in place of its story.
        follow: whether to go on with what is added.

    Raises:
        DeploymentError: there is no such run, or nothing there yet.
    """
    if run is None:
        path = server.log
    else:
        directory = server.runs / run_name(run)
        if not directory.is_dir():
            known = sorted(found.name for found in server.runs.glob("*") if found.is_dir())
            raise DeploymentError(
                f"there is no run {run!r} in {server.runs}: "
                + (f"it has {names_text(known)}" if known else "start one with `sealora server submit`")
            )
        path = directory / (PRINTED if printed else EVENTS)
        if not printed and (follow or path.exists()):
            return map(str, told_lines(directory, follow=follow))
    if not path.exists():
        raise DeploymentError(f"{path}: nothing there yet: is {server.config_file} the right server's (--config)?")
    return log_lines(path, follow=follow)


def log_lines(
    path: Path, *, follow: bool, wait: Callable[[], None] = lambda: time.sleep(_FOLLOW_SECONDS)
) -> Iterator[str]:
    """The lines of a log, without their ends. They were made safe when they were written; others may have written too.

    Args:
        path: the file.
        follow: whether to go on, without end, with what is added, also after a rotation.
        wait: called where there is nothing new.

    Raises:
        OSError: the file cannot be read.
    """
    file = path.open("rb")
    try:
        while True:
            yield from _rest(file)
            if not follow:
                return
            wait()
            if path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino:  # rotated
                yield from _rest(file)
                file.close()
                file = path.open("rb")
    finally:
        file.close()


def _rest(file: BinaryIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_PIECE):
        yield line.decode(errors="replace").rstrip("\n")
