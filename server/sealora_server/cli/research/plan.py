"""`sealora plan`: what a recipe's noise leaves of so many records, and what would be better for the same compute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.recipe import load_recipe
from sealora_common.show.console import SafeConsole
from sealora_common.show.say import say_json


def plan(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML), see configs/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="For example privacy.epsilon=4.")
    ] = None,
    records: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N", help="Training records of each site: one number for all, or several. [default: counted]"
        ),
    ] = None,
    persons: Annotated[
        list[str] | None, typer.Option(metavar="N", help="The same where data.person_field makes persons the unit.")
    ] = None,
    sites: Annotated[
        int | None, typer.Option(min=1, max=1000, help="How many sites there are, where one number is for all.")
    ] = None,
    parameters: Annotated[
        int | None,
        typer.Option(min=1, max=10**12, help="Parameters that are trained. [default: as the base model here has it]"),
    ] = None,
    time: Annotated[
        bool, typer.Option("--time", help="Try a piece of a round on this machine, and tell how long all will take.")
    ] = False,
    gradients: Annotated[
        bool,
        typer.Option(
            "--gradients",
            help="Take one step on the simulated sites' records, to tell in which layers gradients lie.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Show what noise leaves of so many records, what a run costs, and what would be better for the same compute."""
    from sealora_server.planning.page import print_plan
    from sealora_server.planning.planning import Planning

    parsed = load_recipe(recipe, overrides or [])
    asked = Planning(parsed, tuple(records or ()), tuple(persons or ()), sites, parameters, time, gradients)
    with SafeConsole(stderr=True).status("working out noise"):
        planned = asked.planned()
    if as_json:
        say_json(planned.model_dump_json())
    else:
        print_plan(planned, SafeConsole())
