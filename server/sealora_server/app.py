"""The server's ServerApp: drives the rounds of the run whose directory its configuration names."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from sealora_common.roster import Roster
from sealora_server.rounds import run_rounds
from sealora_server.run_store import RunStore

RUN_DIRECTORY = "run-directory"
"""Key of the run configuration that names the run's directory."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs or resumes the run."""
    serve(grid, Path(str(context.run_config[RUN_DIRECTORY])))


def serve(grid: Grid, run_directory: Path) -> None:
    """Runs or resumes the run in `run_directory` over `grid`.

    Raises:
        SealoraError: the run could not be completed; it can be resumed.
    """
    run_rounds(grid, RunStore.open(run_directory), Roster.load(run_directory / "roster.json"))
