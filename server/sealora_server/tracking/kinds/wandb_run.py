"""Weights & Biases: an offline run in a directory, which `wandb sync` may send on.

Nothing is sent unless whoever starts it says so in `WANDB_MODE`, and nothing of the machine is written: no code, no
command line, no name of a person or a host, no figures of its hardware, nothing that the program prints.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from sealora_common.records.run_state import Ending
from sealora_common.storage.own_files import make_directory
from sealora_server.tracking.tracker import Point, TrackedRun, Tracker

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

PROJECT: Final = "sealora"
_OFFLINE: Final = "offline"
_QUIET: Final = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
_EXIT_CODE: Final[dict[Ending, int]] = {"finished": 0, "failed": 1, "interrupted": 130}


class WandbTracker(Tracker):
    """Writes `DIR/wandb/offline-run-...`, anew each time: an earlier one of the same run is replaced.

    Args:
        directory: in which it makes `wandb`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    _open: ClassVar[int] = 0
    """How many runs this process has open."""

    def begin(self, run: TrackedRun) -> None:
        """Starts it, with the settings and notes as its configuration."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import wandb

        self._teardown = wandb.teardown
        mode = os.environ.get("WANDB_MODE", _OFFLINE)
        place = self._directory.absolute()
        make_directory(place)
        if mode == _OFFLINE:
            for former in (place / "wandb").glob(f"offline-run-*-{run.id}"):
                shutil.rmtree(former)
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            silent=True,
            host="",
            username="",
            email="",
            program="",
        )
        self._run: Run = wandb.init(
            project=PROJECT,
            dir=str(place),
            id=run.id,
            name=run.label,
            config={**run.settings, **{f"notes.{name}": text for name, text in run.notes.items()}},
            mode="online" if mode == "online" else "offline",
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=settings,
        )
        WandbTracker._open += 1

    def add(self, point: Point) -> None:
        """A line of its history, whose step is the number of rounds."""
        self._run.log({**point.figures, "time": point.time}, step=point.rounds)

    def end(self, ended: Ending | None, time: float) -> None:
        """Ends it; of a run that goes on a later process writes it again."""
        self._run.finish(exit_code=0 if ended is None else _EXIT_CODE[ended])
        WandbTracker._open -= 1
        if not WandbTracker._open:
            self._teardown()  # only then is the file whole: the last lines are written beside
