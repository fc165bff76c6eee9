"""`sealora compare`: a recipe against what else could be done with the same records, or finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.errors import SealoraError
from sealora_common.recipe import load_recipe
from sealora_common.show.console import SafeConsole
from sealora_common.show.say import say_json
from sealora_server.cli.research.stopped import goes_on_with

_SEEDS = 3


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="RECIPE|RUN", help="A recipe (YAML), or a finished run's directory.")
    ],
    others: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY.PATH=VALUE|RUN]...", help="Of a recipe: overrides, as in privacy.epsilon=4. Of a run: others."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=100, help=f"Of a recipe: seeds of each arm. [default: {_SEEDS}]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Of a recipe: where figures and page go. [default: runs/<recipe name>-compare]"),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM",
            help="Of a recipe: this arm, may be repeated: base, alone, alone-SITE, no-privacy, federated, pooled.",
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Of a recipe: put what sites come to alone beside this finished simulation of it, in its summary.json "
            "and report.html.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Show what federating is worth: base model, sites alone, federated, pooled; or put finished runs side by side."""
    if first.is_dir():
        if seeds is not None or out is not None or only or into is not None:
            raise SealoraError(
                f"--seeds, --out, --only and --into are for a recipe, and {first} is a directory: leave them out"
            )
        _runs([first, *map(Path, others or [])], as_json=as_json)
    else:
        _recipe(first, others or [], seeds or _SEEDS, out, only or [], into, as_json=as_json)


def _runs(directories: list[Path], *, as_json: bool) -> None:
    from sealora_server.comparison.runs import compare_runs
    from sealora_server.comparison.runs_page import print_runs

    found = compare_runs(directories)
    if as_json:
        say_json(found.model_dump_json())
    else:
        print_runs(found, SafeConsole())


def _recipe(
    recipe: Path,
    overrides: list[str],
    seeds: int,
    out: Path | None,
    only: list[str],
    into: Path | None,
    *,
    as_json: bool,
) -> None:
    from sealora_server.comparison.comparing import Comparing
    from sealora_server.comparison.page import print_comparison

    parsed = load_recipe(recipe, overrides)
    directory = out or Path("runs") / f"{parsed.name}-compare"
    console = SafeConsole(stderr=as_json)
    again = ["sealora", "compare", str(recipe), *overrides, "--seeds", str(seeds), "--out", str(directory)]
    again += [word for arm in only for word in ("--only", arm)] + ["--json"] * as_json
    again += [] if into is None else ["--into", str(into)]
    with goes_on_with(again, "What was computed is kept"):
        found = Comparing(parsed, directory, seeds, tuple(only), into).run(console)
    if as_json:
        say_json(found.model_dump_json())
    else:
        print_comparison(found, directory, console)
