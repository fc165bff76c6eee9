"""Writing a copy of data, and the list of what was done, so that neither replaces anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sealora_common.errors import StorageError
from sealora_common.storage.durable import write_atomically

CHANGES = ".changes.json"
"""Ends the name of the list of what was done."""

LEDGER_NOTE = (
    "The privacy ledger knows a record by its text. A record that is changed here is another record to it, and the "
    "budget that was spent on it before would be forgotten: clean BEFORE the first run on this data, and never after"
)


@dataclass
class Doing:
    """One thing that was done.

    Attributes:
        lines: of the data that it was done to, in order.
        places: in them.
    """

    lines: list[int] = field(default_factory=list)
    places: int = 0


@dataclass
class Doings:
    """What was done to data on its way into a copy.

    Attributes:
        read: objects of the data.
        written: objects of the copy.
        steps: what was done, by its name.
    """

    read: int = 0
    written: int = 0
    steps: dict[str, Doing] = field(default_factory=dict)

    def note(self, step: str, line: int, places: int = 1) -> None:
        """Adds a line that a step was done to, at so many places of it."""
        done = self.steps.setdefault(step, Doing())
        done.lines.append(line)
        done.places += places

    def to_json(self, source: Path, copy: Path) -> str:
        """The list, for people and programs; no text of the data is in it."""
        steps = [
            {"step": step, "records": len(done.lines), "places": done.places, "lines": done.lines}
            for step, done in self.steps.items()
        ]
        listed = {"data": str(source), "copy": str(copy), "read": self.read, "written": self.written, "steps": steps}
        return json.dumps(listed, indent=2)


def require_new(copy: Path) -> None:
    """Refuses to write where anything is.

    Raises:
        StorageError: there is a file of this name, or of its list's.
    """
    for path in (copy, changes_of(copy)):
        if path.exists() or path.is_symlink():
            raise StorageError(f"{path}: is there already, and nothing is overwritten: name another file with --out")
    if copy.suffix.lower() != ".jsonl":
        raise StorageError(f"{copy}: a copy is JSON Lines: name it with .jsonl at its end")


def changes_of(copy: Path) -> Path:
    """Where the list of what was done lies."""
    return copy.with_name(copy.name + CHANGES)


def write_copy(copy: Path, rows: Iterable[Mapping[str, object]], source: Path, doings: Doings) -> None:
    """Writes the list, then the copy, whole or not at all, for this account alone (mode 0600).

    Args:
        copy: JSON Lines.
        rows: objects of it, with values as JSON has them.
        source: of which data it is a copy.
        doings: what was done.

    Raises:
        StorageError: there is such a file, or it could not be written.
    """
    require_new(copy)
    content = b"".join(map(_line, rows))
    write_atomically(changes_of(copy), doings.to_json(source, copy).encode())
    write_atomically(copy, content)


def _line(row: Mapping[str, object]) -> bytes:
    text = json.dumps(row, ensure_ascii=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, in a field that is not read
        return json.dumps(row).encode() + b"\n"
