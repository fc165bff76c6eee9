"""What follows a run while it goes: a terminal's frame, lines in a log, a tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealora_common.records.event_log import Recorded
from sealora_common.records.run_state import RunState
from sealora_common.records.site_rounds import SiteHistory


@dataclass(frozen=True)
class Update:
    """What a face is told at a look.

    Attributes:
        new: the events since the last look, oldest first.
        state: of what is followed; of a resumed run its own part: its lines, bytes and times.
        whole: of the run from its first start, whose curve counts.
        histories: the sites' own figures, by name; empty where they cannot be read.
    """

    new: Sequence[Recorded]
    state: RunState
    whole: RunState
    histories: Mapping[str, SiteHistory]


class Face(Protocol):
    """One way to show a run. What is wrong in it never reaches the run, nor another face."""

    def begin(self) -> None:
        """Called once, before the first look."""

    def show(self, update: Update) -> None:
        """Called some times a second, from a thread of its own; `new` may be empty."""

    def end(self, state: RunState) -> None:
        """Called once, after the last look, with the state that it left."""
