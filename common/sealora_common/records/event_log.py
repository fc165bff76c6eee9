"""A run's log: its events, one JSON object a line in `events.jsonl`, written by the rounds and read by all else.

The log is the only thing a display, a report or an operator's tool needs, whatever engine drives the run. It is a log:
nothing is decided on it, see `sealora_server.run.store`.

Example:
    >>> log = EventLog(Path("run/events.jsonl"))  # doctest: +SKIP
    >>> log.write(Stage(round=1, stage="train", sites=3))  # doctest: +SKIP
    >>> read_events(Path("run/events.jsonl"))[-1].event  # doctest: +SKIP
    Stage(event='stage', round=1, stage='train', sites=3)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from sealora_common.config import adapted_from_json, json_value
from sealora_common.errors import UnreadableError
from sealora_common.records.events import Event
from sealora_common.records.json_lines import JsonLinesTail
from sealora_common.storage.durable import append_line

_event: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


_LATEST = 253_402_300_799
"""The end of the year 9999, beyond which no date can be written."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event and when it was written."""

    time: float
    """Unix seconds."""
    event: Event


class EventLog:
    """Appends events to a run's log, each durable when `write` returns."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._line_may_be_cut = True

    def write(self, event: Event) -> None:
        """Appends one event with the present time.

        Raises:
            StorageError: the line could not be written.
        """
        if self._line_may_be_cut:
            self._line_may_be_cut = False
            if _ends_inside_a_line(self.path):  # a crash cut it: keep it from swallowing ours
                append_line(self.path, "")
        fields = json_value(event.model_dump_json())  # a loss that is not a number becomes null
        assert isinstance(fields, dict)  # noqa: S101 (a model is one)
        line = {"time": self._clock(), **fields}
        append_line(self.path, json.dumps(line, ensure_ascii=False, separators=(",", ":")))


class EventTail:
    """Hands out the events appended since the last look; tolerant of a line that is still being written."""

    def __init__(self, path: Path) -> None:
        self._tail = JsonLinesTail(path)

    def read(self) -> list[Recorded]:
        """The new events, oldest first. Events of a kind this version does not know are passed over."""
        return [recorded for line in self._tail.read() if (recorded := _recorded(line)) is not None]


def read_events(path: Path) -> list[Recorded]:
    """All events of a log so far, oldest first; a log that is not there yet is empty."""
    return EventTail(path).read()


def _recorded(line: bytes) -> Recorded | None:
    try:
        fields = json_value(line, nan_is_null=True)
        time = fields.get("time") if isinstance(fields, dict) else None
        if isinstance(time, int | float) and 0 <= time <= _LATEST:
            return Recorded(time=float(time), event=adapted_from_json(_event, line, nan_is_null=True))
    except UnreadableError:
        pass
    return None


def _ends_inside_a_line(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                return False
            file.seek(-1, 2)
            return file.read(1) != b"\n"
    except OSError:
        return False
