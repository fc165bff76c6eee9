"""Reading a growing file of JSON lines while someone else is still writing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sealora_common.config import LINE, json_value
from sealora_common.errors import UnreadableError


class JsonLinesTail:
    """Hands out the objects that were appended to a file since the last look.

    Only finished lines count: a last line without its newline is left for the next look. A finished line
    that is no JSON object was cut by a crash and is passed over. A file that is not there yet is empty.

    Example:
        >>> tail = JsonLinesTail(Path("run/events.jsonl"))
        >>> tail.read()
        []
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """The objects of all lines finished since the last call, in the file's order."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._offset:  # replaced by a shorter file: start over
                    self._offset = 0
                file.seek(self._offset)
                return [found for line in self._finished(file) if (found := _object(line)) is not None]
        except OSError:
            return []

    def _finished(self, file: BinaryIO) -> Iterator[bytes]:
        """The finished lines from here on. One that is longer than any is passed over, a piece at a time."""
        while line := file.readline(LINE.longest):
            if not line.endswith(b"\n") and len(line) < LINE.longest:
                return
            self._offset += len(line)
            yield line


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json_value(line, nan_is_null=True)
    except UnreadableError:
        return None
    return found if isinstance(found, dict) else None
