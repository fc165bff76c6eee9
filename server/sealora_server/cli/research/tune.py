"""`sealora tune`: other values of a recipe's fields, tried in simulation, and what having looked costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.recipe import load_recipe
from sealora_common.show.console import SafeConsole
from sealora_common.show.say import say_json
from sealora_server.cli.research.stopped import goes_on_with
from sealora_server.tuning.records_kind import RecordsKind

_TRIALS = 20


def tune(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML), see configs/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="For example privacy.epsilon=4.")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUES",
            help="What to search, once for each field: FIELD=LOW..HIGH, FIELD=LOW..HIGH:log or FIELD=a,b,c. "
            "[default: learning rate, momentum, clipping norm and sampling rate around the recipe's]",
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=2, max=9999, help="How many recipes are tried; the first is the recipe as it is.")
    ] = _TRIALS,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How often each is trained.")] = 1,
    records: Annotated[
        RecordsKind | None,
        typer.Option(
            help="What the sites' records are: on private ones figures are noised and tuning has a price. "
            "Need not be said of the data of sealora-site demo-data.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where trials, figures and the best recipe go. [default: runs/<recipe name>-tune]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Try other values of a recipe's fields in simulation, and write the recipe that did best."""
    from sealora_server.tuning.page import print_tuning
    from sealora_server.tuning.tuning import Tuning

    parsed = load_recipe(recipe, overrides or [])
    directory = out or Path("runs") / f"{parsed.name}-tune"
    console = SafeConsole(stderr=as_json)
    asked = Tuning(parsed, recipe, tuple(overrides or ()), directory, tuple(search or ()), trials, seeds, records)
    again = ["sealora", "tune", str(recipe), *(overrides or [])]
    again += [word for each in search or [] for word in ("--search", each)]
    again += ["--trials", str(trials), "--seeds", str(seeds), "--out", str(directory)]
    again += ([] if records is None else ["--records", records.value]) + ["--json"] * as_json
    with goes_on_with(again, "Finished trials are kept"):
        found = asked.run(console)
    if as_json:
        say_json(found.model_dump_json())
    else:
        print_tuning(found, directory, console)
