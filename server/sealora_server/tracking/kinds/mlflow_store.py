"""MLflow: one run of the experiment `sealora`, in a directory's SQLite file or at a tracking server."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealora_common.records.run_state import Ending
from sealora_common.storage.own_files import make_directory
from sealora_server.tracking.tracker import Point, TrackedRun, Tracker

if TYPE_CHECKING:
    pass

EXPERIMENT: Final = "sealora"
RUN_TAG: Final = "sealora.run_id"
_QUIET: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that does not answer must not hold up the end of a run for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
_STATUS: Final[dict[Ending, str]] = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_AT_ONCE: Final = 100
"""Settings in one request, as MLflow limits it."""


class MlflowTracker(Tracker):
    """Goes on with what an earlier process tracked of the same run.

    Args:
        place: a directory, in which `mlflow.db` is made, or a tracking URI.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._known: set[tuple[str, int, int]] = set()

    def begin(self, run: TrackedRun) -> None:
        """Finds the run, or makes it, with its settings as parameters."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        logging.getLogger("mlflow").setLevel(logging.ERROR)  # it tells of each table that it makes
        self._metric = Metric
        self._client = MlflowClient(tracking_uri=self._uri())
        self._run = self._found(run) or self._made(run)
        there = self._client.get_run(self._run).data
        settings = [Param(name, str(value)) for name, value in run.settings.items() if name not in there.params]
        for place in range(0, len(settings), _AT_ONCE):
            self._client.log_batch(self._run, params=settings[place : place + _AT_ONCE])
        for name in there.metrics:
            history = self._client.get_metric_history(self._run, name)
            self._known |= {(name, point.step, point.timestamp) for point in history}
        self._client.update_run(self._run, status="RUNNING")

    def add(self, point: Point) -> None:
        """Metrics, whose step is the number of rounds."""
        at = round(point.time * 1000)
        new = [
            self._metric(name, value, at, point.rounds)
            for name, value in point.figures.items()
            if (name, point.rounds, at) not in self._known
        ]
        if new:
            self._client.log_batch(self._run, metrics=new)

    def end(self, ended: Ending | None, time: float) -> None:
        """Finished, failed or killed; a run that goes on is left as running."""
        if ended is not None:
            self._client.set_terminated(self._run, _STATUS[ended], round(time * 1000))

    def _uri(self) -> str:
        if "://" in self._place:
            return self._place
        directory = Path(self._place).absolute()
        make_directory(directory)
        return f"sqlite:///{directory / 'mlflow.db'}"

    def _found(self, run: TrackedRun) -> str | None:
        found = self._client.search_runs([self._experiment()], f"tags.`{RUN_TAG}` = '{run.id}'", max_results=1)
        return found[0].info.run_id if found else None

    def _made(self, run: TrackedRun) -> str:
        tags = {RUN_TAG: run.id, **{f"sealora.{name}": text for name, text in run.notes.items()}}
        made = self._client.create_run(
            self._experiment(), start_time=round(run.began_at * 1000), tags=tags, run_name=run.label
        )
        run_id: str = made.info.run_id
        return run_id

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment: str = self._client.create_experiment(EXPERIMENT) if found is None else found.experiment_id
        return experiment
