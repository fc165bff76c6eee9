"""`sealora memorisation`: what of a person another participant could get out of a recipe's model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.recipe import load_recipe
from sealora_common.show.console import SafeConsole
from sealora_common.show.say import say_json
from sealora_server.cli.research.stopped import goes_on_with

_SEEDS, _SECRETS, _REPEATS, _CANDIDATES = 1, 48, (1, 4, 16), 31


def memorisation(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML), see configs/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="For example privacy.epsilon=4.")
    ] = None,
    secrets: Annotated[
        int, typer.Option(min=1, max=5000, help="Made-up persons to plant; as many others are held back.")
    ] = _SECRETS,
    repeats: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=1000,
            help="Plant so many records of a person; may be repeated, and persons take them by turns.",
            show_default=", ".join(map(str, _REPEATS)),
        ),
    ] = None,
    candidates: Annotated[
        int, typer.Option(min=1, max=1023, help="False values that each true one is ranked among; more take longer.")
    ] = _CANDIDATES,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Train every arm so often, each time on other made-up persons.")
    ] = _SEEDS,
    out: Annotated[
        Path | None, typer.Option(help="Where figures and page go. [default: runs/<recipe name>-memorisation]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Plant made-up personal data at simulated sites, train with privacy and without, and try to get it out again.

    Exit code 1: more planted data came out than of data that nobody trained on.
    """
    from sealora_server.memorisation.page import print_memorisation
    from sealora_server.memorisation.testing import MemorisationTest

    parsed, times = load_recipe(recipe, overrides or []), tuple(repeats or _REPEATS)
    directory = out or Path("runs") / f"{parsed.name}-memorisation"
    console = SafeConsole(stderr=as_json)
    again = ["sealora", "memorisation", str(recipe), *(overrides or []), "--secrets", str(secrets)]
    again += [word for each in times for word in ("--repeats", str(each))]
    again += ["--candidates", str(candidates)]
    again += ["--seeds", str(seeds), "--out", str(directory)] + ["--json"] * as_json
    with goes_on_with(again, "What was computed is kept"):
        found = MemorisationTest(parsed, directory, seeds, secrets, times, candidates).run(console)
    if as_json:
        say_json(found.model_dump_json())
    else:
        print_memorisation(found, directory, console)
    if found.standing == "more extracted":
        raise typer.Exit(1)
