"""TensorBoard: one directory of event files a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sealora_common.records.run_state import Ending
from sealora_common.storage.own_files import make_directory
from sealora_server.tracking.tracker import Point, TrackedRun, Tracker

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary


class TensorboardTracker(Tracker):
    """Writes `DIR/RUN/events.out.tfevents...`, anew each time: a former file of the same run is removed.

    Args:
        directory: which TensorBoard is pointed at.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def begin(self, run: TrackedRun) -> None:
        """Opens a file, with the settings and notes as texts."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._scalar = Event, scalar_pb
        place = self._directory.absolute() / run.label
        make_directory(place)
        for former in place.glob("events.out.tfevents.*"):
            former.unlink()
        self._writer = EventFileWriter(str(place))
        cells = {name: " ".join(str(value).replace("|", "/").split()) for name, value in run.settings.items()}
        table = "| | |\n|---|---|\n" + "".join(f"| {name} | {cell} |\n" for name, cell in cells.items())
        for name, text in {"recipe": table, **run.notes}.items():
            self._write(text_pb(name, text), 0, run.began_at)
        self._writer.flush()

    def add(self, point: Point) -> None:
        """Scalars, whose step is the number of rounds."""
        for name, value in point.figures.items():
            self._write(self._scalar(name, value), point.rounds, point.time)
        self._writer.flush()

    def end(self, ended: Ending | None, time: float) -> None:
        """Closes the file; TensorBoard knows no endings."""
        self._writer.close()

    def _write(self, summary: Summary, step: int, time: float) -> None:
        self._writer.add_event(self._event(wall_time=time, step=step, summary=summary))
