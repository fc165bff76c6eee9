"""Reading a growing file of JSON lines while someone else is still writing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sealora_common.config import LINE


class JsonLinesTail:
    """Hands out the lines that were appended to a file since the last look.

    Only finished lines count: a last line without its newline is left for the next look. What a line holds is the
    caller's to judge: one that was cut by a crash is a finished line too. A file that is not there yet is empty.

    Example:
        >>> tail = JsonLinesTail(Path("run/events.jsonl"))
        >>> tail.read()
        []
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> list[bytes]:
        """All lines finished since the last call, in the file's order, each with its newline."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._offset:  # replaced by a shorter file: start over
                    self._offset = 0
                file.seek(self._offset)
                return list(self._finished(file))
        except OSError:
            return []

    def _finished(self, file: BinaryIO) -> Iterator[bytes]:
        """The finished lines from here on. One that is longer than any is passed over, a piece at a time."""
        while line := file.readline(LINE.longest):
            if not line.endswith(b"\n") and len(line) < LINE.longest:
                return
            self._offset += len(line)
            if line.endswith(b"\n"):
                yield line
