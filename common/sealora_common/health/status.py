"""What a process knows of its own health: part by part, with a sentence each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from sealora_common import __version__


@dataclass(frozen=True)
class PartStatus:
    """One part of a process: whether it is well, and a sentence on it. The sentence is shown to whoever asks."""

    ok: bool
    said: str


class HealthState(BaseModel):
    """A process's health at one moment, as `/healthz` and `/readyz` tell it."""

    model_config = ConfigDict(frozen=True, strict=True)

    version: str = __version__
    alive: bool
    ready: bool
    failure: str | None = None
    parts: dict[str, PartStatus]

    def to_json(self) -> str:
        """The JSON text; without a failure there is no field for it."""
        return self.model_dump_json(exclude_none=True)


class Health:
    """The state of a process's parts. Safe to use from any thread.

    Alive means that the process does its work; a supervisor should restart one that is not. Ready means that every
    part is well: a site that cannot reach its server is alive and not ready, and a restart would not help it.

    Args:
        parts: names of the parts; each starts as not well.
    """

    def __init__(self, *parts: str) -> None:
        self._lock = threading.Lock()
        self._parts = {part: PartStatus(False, "starting") for part in parts}
        self._failure: str | None = None
        self._watchers: list[Callable[[], None]] = []

    def report(self, part: str, ok: bool, said: str) -> bool:
        """Sets the state of a part.

        Returns:
            Whether it is another than before.

        Raises:
            KeyError: there is no such part.
        """
        status = PartStatus(ok, said)
        with self._lock:
            changed = self._parts[part] != status
            self._parts[part] = status
        if changed:
            self._tell()
        return changed

    def fail(self, said: str) -> None:
        """Says that the process cannot do its work any more and should be restarted."""
        with self._lock:
            self._failure = said
        self._tell()

    @property
    def alive(self) -> bool:
        """Whether the process does its work."""
        with self._lock:
            return self._failure is None

    @property
    def ready(self) -> bool:
        """Whether the process is alive and every part of it is well."""
        with self._lock:
            return self._failure is None and all(part.ok for part in self._parts.values())

    def watch(self, callback: Callable[[], None]) -> None:
        """Calls `callback` now and after every change, from whatever thread made the change."""
        with self._lock:
            self._watchers.append(callback)
        callback()

    @property
    def state(self) -> HealthState:
        """All of it at one moment."""
        with self._lock:
            failure, parts = self._failure, dict(self._parts)
        ready = failure is None and all(part.ok for part in parts.values())
        return HealthState(alive=failure is None, ready=ready, failure=failure, parts=parts)

    def _tell(self) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher()
