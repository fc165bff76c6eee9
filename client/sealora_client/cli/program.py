"""`sealora-site`: the site operator's command."""

from __future__ import annotations

import os

from sealora_common.library_settings import unset_settings

os.environ.update(unset_settings())  # before any library is imported that reads them

import logging
from pathlib import Path
from typing import Annotated

import typer

from sealora_client.cli.budget import budget_cli
from sealora_client.cli.check import check
from sealora_client.cli.dashboard import dashboard
from sealora_client.cli.data import data_cli
from sealora_client.cli.dossier import dossier
from sealora_client.cli.joining.enrol import init
from sealora_client.cli.joining.join import join
from sealora_client.cli.joining.pin import pin
from sealora_client.cli.joining.roster import roster_cli
from sealora_client.cli.leave import leave, take_part
from sealora_client.cli.policy import policy_cli
from sealora_client.cli.receipts import receipts_cli
from sealora_client.cli.rotate import rotate
from sealora_client.cli.run import run
from sealora_client.cli.status import status
from sealora_client.cli.trained.chat import chat
from sealora_client.cli.trained.evaluate import evaluate
from sealora_client.cli.trained.export import export
from sealora_client.cli.trained.lm_eval import lm_eval
from sealora_client.cli.trained.personalise import personalise
from sealora_client.cli.trained.report import report
from sealora_client.cli.trained.serve import serve
from sealora_client.cli.upkeep import backup, restore
from sealora_client.demo_data.choice import DemoTask, build_demo
from sealora_common.errors import SealoraError
from sealora_common.health.logs import set_up_command_logs
from sealora_common.recipe.sections.model import ModelSection
from sealora_common.show.command_line import Version, command_line
from sealora_common.show.console import tell_error
from sealora_common.show.say import say
from sealora_common.storage.own_files import keep_to_this_account

cli = command_line()
model = typer.Typer(no_args_is_help=True, help="The base model.")
cli.add_typer(model, name="model")
model.command()(pin)
cli.add_typer(receipts_cli, name="receipts")
cli.add_typer(budget_cli, name="budget")
cli.add_typer(policy_cli, name="policy")
cli.add_typer(data_cli, name="data")
cli.command()(init)
cli.command()(join)
cli.add_typer(roster_cli, name="roster")
cli.command()(check)
cli.command()(run)
cli.command()(status)
cli.command()(dashboard)
cli.command()(leave)
cli.command("return")(take_part)
cli.command()(rotate)
cli.command()(backup)
cli.command()(restore)
cli.command()(dossier)
cli.command()(report)
cli.command()(evaluate)
cli.command()(chat)
cli.command()(serve)
cli.command()(export)
cli.command("lm-eval")(lm_eval)
cli.command()(personalise)

Base = Annotated[str, typer.Argument(help="smollm2-135m-instruct, a Hugging Face id, or a local directory.")]


@cli.callback()
def sealora_site(version: Version = False) -> None:
    """A site of a federation: its base model and its data."""


@model.command()
def fetch(base: Base = "smollm2-135m-instruct") -> None:
    """Fetch a base model if it is not here yet, and say where it is."""
    from sealora_client.model.fetch import locate_base

    say(locate_base(ModelSection(base=base)))


@model.command()
def digest(base: Base) -> None:
    """Print the SHA-256 that a recipe's model.digest holds a base model to."""
    from sealora_client.model.fetch import locate_base
    from sealora_client.model.model_files import digest_of

    say(digest_of(locate_base(ModelSection(base=base))))


@cli.command("demo-data")
def demo_data(
    directory: Annotated[Path, typer.Argument(help="Where the JSONL files go.")] = Path(".cache/demo"),
    task: Annotated[DemoTask, typer.Option(help="What the sites teach the model.")] = DemoTask.CODING,
) -> None:
    """Build a demo's data: three hospitals' diagnoses from ICD-10-CM, or another task's that a recipe names."""
    for site in build_demo(directory, task):
        say(f"{site.path}: {site.train} training and {site.heldout} held-out records")


def main() -> None:
    """Entry point: an expected error is one sentence on stderr and exit code 1."""
    keep_to_this_account()
    set_up_command_logs(logging.INFO)
    for noisy in ("flwr", "httpx", "transformers", "bitsandbytes"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        cli()
    except SealoraError as error:
        tell_error(error)
        raise SystemExit(1) from None
