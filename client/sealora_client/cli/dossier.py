"""`sealora-site dossier`: this site's part of what people read before a model leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.show.say import say


def dossier(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's identity, or the beginning of it.")],
    out: Annotated[Path, typer.Option(help="Where to write the part; a new directory.")],
    directory: Annotated[Path | None, typer.Option(help="The site's directory.", show_default=".")] = None,
    statement: Annotated[
        Path | None, typer.Option(help="A text file that describes this site's data: source, purpose, legal basis.")
    ] = None,
    audit: Annotated[Path | None, typer.Option(help="`audit.json` of the run's recipe at this site.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="The run's recipe.", show_default="the run's, as the site keeps it")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="The page as PDF too; Chromium prints it.")] = False,
) -> None:
    """Write this site's part of a run's dossier: its own exact figures, signed by the site."""
    from sealora_client.dossier.part import HandedIn, write_part

    part, manifest = write_part(directory or Path(), run, out, HandedIn(statement, audit, recipe), pdf=pdf)
    say(part.clearance.first_line)
    for sentence in (*part.clearance.against, *part.clearance.open_points):
        say(f"- {sentence}")
    say(f"{out}: this site's part, {len(manifest.files)} files, signed by {manifest.fingerprint}")
    say("Its figures are exact: hand it to nobody but those who may know them")
