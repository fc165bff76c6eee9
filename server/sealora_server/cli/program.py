"""`sealora`: the aggregation operator's and the researcher's command."""

from __future__ import annotations

import os

from sealora_common.library_settings import unset_settings

os.environ.update(unset_settings())  # before any library is imported that reads them

import logging
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.logging import RichHandler

from sealora_common.errors import SealoraError
from sealora_common.health.logs import quiet_libraries, set_up_command_logs
from sealora_common.recipe import load_recipe
from sealora_common.show.command_line import Version, command_line
from sealora_common.show.console import SafeConsole, tell_error
from sealora_common.storage.own_files import keep_to_this_account
from sealora_server.cli.approving import approve, refuse
from sealora_server.cli.audit import audit
from sealora_server.cli.dashboard import dashboard
from sealora_server.cli.fault import fault
from sealora_server.cli.invite import invite
from sealora_server.cli.of_a_run.dossier import dossier
from sealora_server.cli.of_a_run.export import export
from sealora_server.cli.of_a_run.track import track
from sealora_server.cli.person import person
from sealora_server.cli.research.compare import compare
from sealora_server.cli.research.memorisation import memorisation
from sealora_server.cli.research.plan import plan
from sealora_server.cli.research.tune import tune
from sealora_server.cli.roster import roster_cli
from sealora_server.cli.run_life import archive, delete, unarchive
from sealora_server.cli.server import server_cli
from sealora_server.cli.upkeep import backup, check, restore, verify_archive
from sealora_server.simulation.engine import Engine
from sealora_server.simulation.ray_cluster import check_ray_address

cli = command_line()

cli.add_typer(roster_cli, name="roster")
cli.add_typer(server_cli, name="server")
for command in (person, approve, refuse, invite, archive, unarchive, delete, check, backup, restore, verify_archive):
    server_cli.command()(command)
cli.command()(plan)
cli.command()(compare)
cli.command()(tune)
cli.command()(audit)
cli.command()(memorisation)
cli.command()(fault)
cli.command()(dossier)
cli.command()(export)
cli.command()(track)
cli.command()(dashboard)


@cli.callback()
def sealora(version: Version = False) -> None:
    """Federated, private fine-tuning of language models across institutions."""


@cli.command()
def simulate(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML), see configs/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="For example privacy.epsilon=4.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory. [default: runs/<recipe name>]")] = None,
    engine: Annotated[Engine, typer.Option(help="Where the sites run.")] = Engine.INLINE,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    continue_from: Annotated[
        Path | None, typer.Option(help="Begin with the adapter of this earlier run, or in this directory.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            help="With --engine ray: the cluster whose machines the sites run on. [default: Ray on this machine alone]",
        ),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:DIR", help="mlflow:DIR, tensorboard:DIR or wandb:DIR; once more for each."),
    ] = None,
) -> None:
    """Run a whole federation on this machine: every site, the server and the sealing between them."""
    from sealora_server.simulation.simulate import Simulation
    from sealora_server.tracking.kinds.choice import trackers_of

    if ray_address is not None:
        if engine is not Engine.RAY:
            raise SealoraError("--ray-address says where Ray is, and the sites run without it: add --engine ray")
        check_ray_address(ray_address)
    parsed = load_recipe(recipe, overrides or [])
    directory = out or Path("runs") / parsed.name
    try:
        Simulation(parsed, directory, engine, resume, continue_from, ray_address, trackers_of(track or [])).run(
            SafeConsole()
        )
    except KeyboardInterrupt:
        again = ["sealora", "simulate", str(recipe), *(overrides or []), "--out", str(directory)]
        again += ["--engine", engine.value] if engine is not Engine.INLINE else []
        again += ["--ray-address", ray_address] if ray_address is not None else []
        again += ["--continue-from", str(continue_from)] if continue_from is not None else []
        again += [word for tracker in track or [] for word in ("--track", tracker)]
        again += ["--resume"] if (directory / "run.json").exists() else []
        SafeConsole(stderr=True).print(
            f"Stopped. Finished rounds are kept. To go on:  {shlex.join(again)}\n"
            f"To clean up:  {shlex.join(['rm', '-r', str(directory)])}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        raise SystemExit(130) from None


def main() -> None:
    """Entry point: an expected error is one sentence on stderr and exit code 1."""
    keep_to_this_account()
    set_up_command_logs(logging.WARNING, _log_handler())
    try:
        with quiet_libraries():
            cli()
    except SealoraError as error:
        tell_error(error)
        raise SystemExit(1) from None


def _log_handler() -> logging.Handler:
    return RichHandler(console=SafeConsole(stderr=True), show_time=False, show_path=False, markup=False)
