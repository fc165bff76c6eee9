"""Follows a run while it goes, and tells its faces.

Only the run directory is read, so any run can be followed, whatever engine drives it, and nothing that goes wrong here
or in a face reaches the run.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from sealora_common.records.event_log import EventTail
from sealora_common.records.fold import fold
from sealora_common.records.names import EVENTS
from sealora_common.records.run_state import RunState
from sealora_server.view.histories import HistoryTails
from sealora_server.view.live.face import Face, Update

_SECONDS_BETWEEN_LOOKS = 0.25


class RunDisplay:
    """Follows the run at `run_dir` from entering the context to leaving it; everything written until then is shown.

    Args:
        run_dir: the run's directory; it and its files may appear later.
        faces: what shows it, in this order.

    Of a resumed run its own part is shown: events that were logged before entering count for its curve alone.
    """

    def __init__(self, run_dir: Path, *faces: Face) -> None:
        self._faces = faces
        self._tail = EventTail(run_dir / EVENTS)
        self._histories = HistoryTails(run_dir)
        self._whole = RunState()
        self._shown = RunState()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="run-display", daemon=True)

    def __enter__(self) -> Self:
        with contextlib.suppress(Exception):
            self._whole = fold(self._whole, self._tail.read())
        for face in self._faces:
            with contextlib.suppress(Exception):
                face.begin()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._look()
        for face in self._faces:
            with contextlib.suppress(Exception):
                face.end(self._shown)

    def _follow(self) -> None:
        while not self._stop.wait(_SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        with contextlib.suppress(Exception):
            new = self._tail.read()
            self._whole, self._shown = fold(self._whole, new), fold(self._shown, new)
            update = Update(new, self._shown, self._whole, self._histories.read())
            for face in self._faces:
                with contextlib.suppress(Exception):
                    face.show(update)
