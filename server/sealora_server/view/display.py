"""Shows a run while it goes: a live frame on a terminal, plain lines anywhere else.

The display only reads the run directory, so it shows any run, whatever engine drives it, and nothing that goes
wrong in it reaches the run.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sealora_common.records.event_log import EventTail, Recorded
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
from sealora_common.records.fold import fold
from sealora_common.records.names import EVENTS
from sealora_common.records.run_state import RunState
from sealora_common.records.site_rounds import SiteHistory
from sealora_server.view.histories import HistoryTails, federation_curve
from sealora_server.view.live_view import Snapshot, frame
from sealora_server.view.plain_lines import plain_line

_SECONDS_BETWEEN_LOOKS = 0.25


class RunDisplay:
    """Follows the run at `run_dir` on `console` from entering the context to leaving it.

    On leaving, everything written until then is shown. A live frame is wiped when the run finished (its results
    follow) and left standing when it did not.

    Args:
        run_dir: the run's directory; it and its files may appear later.
        console: where to draw. Without a terminal, or one that cannot draw Unicode, plain lines are printed.
        from_start: whether events that were logged before entering count (as when watching a run that another
            process drives); a resumed run shows its own part only.
        clock: the present as Unix seconds.
    """

    def __init__(
        self,
        run_dir: Path,
        console: Console,
        *,
        from_start: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._console = console
        self._clock = clock
        self._tail = EventTail(run_dir / EVENTS)
        self._histories = HistoryTails(run_dir)
        self._from_start = from_start
        self._whole = RunState()
        self._shown = RunState()
        """Of a resumed run its own part: the past's curve counts, its lines, bytes and times do not."""
        self._notice = ""
        self._live: Live | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="run-display", daemon=True)

    def __enter__(self) -> Self:
        with contextlib.suppress(Exception):
            if not self._from_start:
                self._whole = fold(self._whole, self._tail.read())
            if self._console.is_terminal and self._console.encoding.lower().startswith("utf"):
                self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
                self._live.start()
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(Exception):
            self._stop.set()
            if self._thread.is_alive():
                self._thread.join(timeout=5)
            self._look()
        with contextlib.suppress(Exception):
            if self._live is not None:
                self._live.transient = self._shown.ended == "finished"
                self._live.stop()

    def _follow(self) -> None:
        while not self._stop.wait(_SECONDS_BETWEEN_LOOKS):
            with contextlib.suppress(Exception):
                self._look()

    def _look(self) -> None:
        new = self._tail.read()
        histories = self._histories.read()
        self._whole, self._shown = fold(self._whole, new), fold(self._shown, new)
        if self._live is None:
            self._print(new, histories)
        else:
            self._draw(self._live, new, histories)

    def _print(self, new: list[Recorded], histories: dict[str, SiteHistory]) -> None:
        for recorded in new:
            line = plain_line(recorded.event, self._shown, histories)
            if line is not None:
                self._console.print(Text(line), soft_wrap=True)

    def _draw(self, live: Live, new: list[Recorded], histories: dict[str, SiteHistory]) -> None:
        for recorded in new:
            if _needs_notice(recorded.event):
                self._notice = plain_line(recorded.event, self._shown, histories) or self._notice
            elif isinstance(recorded.event, RoundFinished):
                self._notice = ""
        snapshot = Snapshot(
            state=self._shown,
            histories=histories,
            curve=federation_curve(self._whole, histories),
            notice=self._notice,
            now=self._clock(),
        )
        width, height = self._console.size
        live.update(frame(snapshot, width=width, height=height), refresh=True)


def _needs_notice(event: Event) -> bool:
    turned_away = isinstance(event, SitesReady) and bool(event.turned_away)
    return turned_away or isinstance(event, SiteFailed | SiteBlamed | SumSpoilt | RoundAborted | RunFailed)
