"""The two ways to run a simulation behind one call: `inline` in this process, `ray` in processes of their own."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from flwr.app import ConfigRecordValues, Context, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.supercore.object_ref import load_app

from sealora_common.errors import SealoraError
from sealora_common.records.names import PARTITION, ROUND_ASIDE, RUN_DIRECTORY, SITE_DIRECTORY, SITES
from sealora_common.simulated_sites import VARIABLE
from sealora_server.app import app, serve
from sealora_server.simulation.inline import InlineGrid
from sealora_server.simulation.ray_cluster import ray_cluster
from sealora_server.simulation.sites import CLIENT_APP


class Engine(StrEnum):
    """Where the sites of a simulation run."""

    INLINE = "inline"
    """In this process, in turn, sharing one base model."""
    RAY = "ray"
    """Flower's simulation engine: in parallel, for several GPUs or machines; a base model for each worker."""


def run_engine(engine: Engine, run_directory: Path, sites: list[str], ray_address: str | None = None) -> None:
    """Runs the ServerApp on the run in `run_directory` and the ClientApp for each of `sites`.

    Args:
        engine: where the sites run.
        run_directory: the run's.
        sites: their names.
        ray_address: of the cluster that `ray` uses, see `ray_cluster`; None for one of its own.

    Raises:
        SealoraError: the run could not be completed; it can be resumed.
    """
    client_app: ClientApp = load_app(CLIENT_APP, SealoraError)
    directories = [run_directory / SITES / name for name in sites]
    try:
        if engine is Engine.INLINE:
            _run_inline(client_app, run_directory, directories)
        else:
            _run_ray(client_app, run_directory, len(sites), ray_address)
    finally:
        for directory in directories:  # of a round that was not finished
            with suppress(OSError):
                (directory / ROUND_ASIDE).unlink()


def _run_inline(client_app: ClientApp, run_directory: Path, directories: list[Path]) -> None:
    nodes: list[UserConfig] = [
        {SITE_DIRECTORY: str(directory), PARTITION: number} for number, directory in enumerate(directories)
    ]
    config: UserConfig = {RUN_DIRECTORY: str(run_directory)}
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=config)
    app(InlineGrid(client_app, nodes), context)


def _run_ray(client_app: ClientApp, run_directory: Path, count: int, address: str | None) -> None:
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    server_app = ServerApp()
    failures: list[Exception] = []

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        # Flower replaces an exception by its own; ours says what to do.
        try:
            serve(grid, run_directory)
        except SealoraError as error:
            failures.append(error)

    with ray_cluster(address, {VARIABLE: str((run_directory / SITES).resolve())}) as gpus:
        resources: dict[str, ConfigRecordValues] = {"num_cpus": 1, "num_gpus": min(1.0, gpus / count)}
        run_simulation(server_app, client_app, num_supernodes=count, backend_config={"client_resources": resources})
    if failures:
        raise failures[0]
