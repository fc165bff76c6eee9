"""What every tracker is told of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sealora_common.records.run_state import Ending

Setting = str | int | float | bool


@dataclass(frozen=True)
class TrackedRun:
    """A run as its first event tells of it.

    Attributes:
        id: the run's.
        name: its recipe's.
        began_at: Unix seconds.
        settings: of the recipe, by dotted name.
        notes: what the figures are and what they are not, one line each, by name.
    """

    id: str
    name: str
    began_at: float
    settings: Mapping[str, Setting]
    notes: Mapping[str, str]

    @property
    def label(self) -> str:
        """What a person knows it by; no two runs have the same."""
        return f"{self.name}-{self.id[:12]}"


@dataclass(frozen=True)
class Point:
    """Figures of one moment.

    Attributes:
        rounds: that the adapter had been trained.
        time: Unix seconds.
        figures: by name; all are finite.
    """

    rounds: int
    time: float
    figures: Mapping[str, float]


class Tracker(Protocol):
    """One place where runs are tracked. Whatever it raises costs its own tracking and nothing else.

    A run may be told from its beginning again, by a process that knows nothing of an earlier one: it is then there
    once all the same.
    """

    def begin(self, run: TrackedRun) -> None:
        """Called once, before anything else."""

    def add(self, point: Point) -> None:
        """One more; rounds never go back but where a run was resumed before them."""

    def end(self, ended: Ending | None, time: float) -> None:
        """Called once, at last: how the run ended, None if it goes on, and when."""
