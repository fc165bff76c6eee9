"""The two ways to run a simulation behind one call: `inline` in this process, `ray` in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from flwr.app import ConfigRecordValues, Context, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.supercore.object_ref import load_app

from sealora_common.errors import SealoraError
from sealora_common.records.names import RUN_DIRECTORY, SITE_DIRECTORY, SITES
from sealora_common.simulated_sites import VARIABLE
from sealora_server.app import app, serve
from sealora_server.simulation.inline import InlineGrid
from sealora_server.simulation.sites import CLIENT_APP, simulated_sites


class Engine(StrEnum):
    """Where the sites of a simulation run."""

    INLINE = "inline"
    """In this process, in turn, sharing one base model."""
    RAY = "ray"
    """Flower's simulation engine: in parallel, for several GPUs or machines; a base model for each worker."""


def run_engine(engine: Engine, run_directory: Path, sites: list[str]) -> None:
    """Runs the ServerApp on the run in `run_directory` and the ClientApp for each of `sites`.

    Raises:
        SealoraError: the run could not be completed; it can be resumed.
    """
    client_app: ClientApp = load_app(CLIENT_APP, SealoraError)
    if engine is Engine.INLINE:
        directories = [str(run_directory / SITES / name) for name in sites]
        grid = InlineGrid(client_app, [{SITE_DIRECTORY: directory} for directory in directories])
        config: UserConfig = {RUN_DIRECTORY: str(run_directory)}
        app(grid, Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=config))
        return
    _run_ray(client_app, run_directory, len(sites))


def _run_ray(client_app: ClientApp, run_directory: Path, count: int) -> None:
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

    gpus = simulated_sites().gpus()
    resources: dict[str, ConfigRecordValues] = {"num_cpus": 1, "num_gpus": min(1.0, gpus / count) if gpus else 0.0}
    with _environment(VARIABLE, str(run_directory / SITES)):
        run_simulation(
            server_app,
            client_app,
            num_supernodes=count,
            backend_config={"client_resources": resources, "init_args": {"log_to_driver": False}},
        )
    if failures:
        raise failures[0]


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
