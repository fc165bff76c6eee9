"""`logs/server.log`: what the server and its processes say, in one file that does not grow without end."""

from __future__ import annotations

import contextlib
import io
import logging.handlers
import sys
from pathlib import Path

from sealora_common.storage import storage_error

_BYTES = 10 * 2**20
_KEPT = 5


class LogFile(io.TextIOBase):
    """A text stream whose lines go to standard error and to a file that is rotated.

    Raises:
        StorageError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handler = logging.handlers.RotatingFileHandler(
                path, maxBytes=_BYTES, backupCount=_KEPT, encoding="utf-8"
            )
        except OSError as error:
            raise storage_error(path, error) from error
        self._handler.setFormatter(logging.Formatter("%(message)s"))
        self._handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk: stderr remains

    def write(self, text: str) -> int:
        """Takes one or more whole lines."""
        for line in text.rstrip("\n").splitlines():
            self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, line, (), None))
            with contextlib.suppress(OSError):
                print(line, file=sys.stderr, flush=True)  # noqa: T201 (this is what stands behind logging)
        return len(text)

    def close(self) -> None:
        """Closes the file."""
        self._handler.close()
        super().close()
