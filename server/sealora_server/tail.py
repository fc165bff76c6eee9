"""Reading a growing file of JSON lines while someone else is still writing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sealora_common.config import json_value
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
                content = file.read()
        except OSError:
            return []
        finished = content[: content.rfind(b"\n") + 1]
        self._offset += len(finished)
        return [found for line in finished.splitlines() if (found := _object(line)) is not None]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json_value(line, nan_is_null=True)
    except UnreadableError:
        return None
    return found if isinstance(found, dict) else None
