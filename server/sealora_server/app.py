"""The server's ServerApp: drives the rounds of the run whose directory its configuration names.

Under `flwr run` in a Flower simulation there is no run directory yet: the app then prepares one, with its
simulated sites, from the recipe that `[tool.flwr.app.config]` names.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from sealora_common.recipe import load_recipe
from sealora_common.records.names import RUN_DIRECTORY
from sealora_common.roster import Roster
from sealora_common.show.say import say
from sealora_common.simulated_sites import simulated_sites_directory
from sealora_common.storage.lock import DirectoryLock
from sealora_server.delivery.deliver import deliver
from sealora_server.node_keys import KeyedGrid
from sealora_server.run.rounds import run_rounds
from sealora_server.run.store import RunStore

RECIPE = "recipe"
"""Key of the run configuration that names a recipe to simulate."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs or resumes the run."""
    named = context.run_config.get(RUN_DIRECTORY)
    directory = Path(str(named)) if named else _prepare_simulation(Path(str(context.run_config[RECIPE])))
    serve(grid, directory)


def serve(grid: Grid, run_directory: Path) -> None:
    """Runs or resumes the run in `run_directory` over `grid`, then gives its adapter to the sites that are there.

    Of a run that is over it does the second alone, where nodes have keys.

    Raises:
        LockedError: another process is at work on the run.
        SealoraError: the run could not be completed; it can be resumed.
    """
    store = RunStore.open(run_directory)
    with DirectoryLock(run_directory, "this run"):
        if not (isinstance(grid, KeyedGrid) and store.is_finished):
            run_rounds(grid, store, Roster.load(run_directory / "roster.json"))
        # Anew: it may have come to be another meanwhile.
        deliver(grid, store, Roster.load(run_directory / "roster.json"))


def _prepare_simulation(recipe_file: Path) -> Path:
    """A fresh run directory beside the simulated sites, in place of the last one that `flwr run` left."""
    from sealora_server.simulation.sites import prepare_sites, simulated_sites

    directory = simulated_sites_directory().parent
    if (directory / "run.json").exists():
        shutil.rmtree(directory)
    recipe = load_recipe(recipe_file)
    sites = simulated_sites()
    sites.check(recipe)
    prepare_sites(sites, RunStore.create(directory, sites.resolve(recipe)))
    say(f"run directory: {directory}")  # what `flwr run --stream` shows
    return directory
