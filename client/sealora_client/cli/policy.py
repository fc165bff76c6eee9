"""`sealora-site policy explain`: what this site's policy says to a recipe, line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_client.site.policy import SitePolicy
from sealora_common.recipe import load_recipe
from sealora_common.roster import Roster
from sealora_common.show.say import say

policy_cli = typer.Typer(no_args_is_help=True, help="What this site allows, whatever a server orders.")


@policy_cli.callback()
def policy() -> None:
    """What this site allows, whatever a server orders."""


@policy_cli.command()
def explain(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML).")],
    directory: Annotated[Path, typer.Option("--directory", help="The site's directory.")] = Path(),
) -> None:
    """Say line by line what policy.yaml allows of a recipe and what it refuses; exit code 1 if it refuses anything.

    The roster is judged as well if roster.json is there.
    """
    from sealora_client.budget.admission import only_one_run

    own = SitePolicy.load(directory / "policy.yaml")
    asked = load_recipe(recipe)
    roster_file = directory / "roster.json"
    roster = Roster.load(roster_file) if roster_file.exists() else None
    verdicts = [*own.verdicts(asked, roster), *own.verdicts_over_the_run(asked)]
    for verdict in verdicts:
        say(f"{'allowed' if verdict.allowed else 'REFUSED'}  {verdict}")
    size = asked.sites.minimum if roster is None else len(roster)
    if (only_one := only_one_run(asked, size, own.epsilon_limit)) is not None:
        say(f"note     {only_one}")
    if own.hours:
        say(f"note     hours are {', '.join(own.hours)} ({own.time_zone}): orders at other times are refused")
    if not all(verdict.allowed for verdict in verdicts):
        raise typer.Exit(1)
