"""A run on a console: a live frame on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sealora_common.records.events import (
    Event,
    RoundAborted,
    RoundFinished,
    RunFailed,
    SiteBlamed,
    SiteFailed,
    SitesReady,
    SumSpoilt,
)
from sealora_common.records.run_state import RunState
from sealora_server.view.histories import federation_curve
from sealora_server.view.live.face import Face, Update
from sealora_server.view.live.frame import Snapshot, frame
from sealora_server.view.live.plain_lines import plain_line


def console_face(console: Console, clock: Callable[[], float] = time.time) -> Face:
    """The live frame; without a terminal, or on one that cannot draw Unicode, the plain lines.

    Args:
        console: where to draw.
        clock: the present as Unix seconds.
    """
    if console.is_terminal and console.encoding.lower().startswith("utf"):
        return LiveFrame(console, clock)
    return PlainLines(console)


class PlainLines(Face):
    """One line an event that matters."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self) -> None:
        """Nothing is shown before something happens."""

    def show(self, update: Update) -> None:
        """Prints what is new."""
        for recorded in update.new:
            line = plain_line(recorded.event, update.state, update.histories)
            if line is not None:
                self._console.print(Text(line), soft_wrap=True)

    def end(self, state: RunState) -> None:
        """The lines stay."""


class LiveFrame(Face):
    """A frame that is wiped when the run finished (its results follow) and left standing when it did not."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._notice = ""
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def begin(self) -> None:
        """Takes the terminal."""
        self._live.start()

    def show(self, update: Update) -> None:
        """Draws the run as it is now."""
        for recorded in update.new:
            if _needs_notice(recorded.event):
                self._notice = plain_line(recorded.event, update.state, update.histories) or self._notice
            elif isinstance(recorded.event, RoundFinished):
                self._notice = ""
        snapshot = Snapshot(
            state=update.state,
            histories=update.histories,
            curve=federation_curve(update.whole, update.histories),
            notice=self._notice,
            now=self._clock(),
        )
        width, height = self._console.size
        self._live.update(frame(snapshot, width=width, height=height), refresh=True)

    def end(self, state: RunState) -> None:
        """Gives the terminal back."""
        self._live.transient = state.ended == "finished"
        self._live.stop()


def _needs_notice(event: Event) -> bool:
    turned_away = isinstance(event, SitesReady) and bool(event.turned_away)
    return turned_away or isinstance(event, SiteFailed | SiteBlamed | SumSpoilt | RoundAborted | RunFailed)
