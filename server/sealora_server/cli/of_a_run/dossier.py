"""`sealora dossier`: one signed directory for those who answer for letting a run's model leave."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.show.say import say


def dossier(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's directory.")],
    out: Annotated[Path, typer.Option(help="Where to write the dossier; a new directory.")],
    part: Annotated[
        list[Path] | None, typer.Option(help="A part that a site wrote (`sealora-site dossier`); once for each.")
    ] = None,
    audit: Annotated[
        list[Path] | None, typer.Option(help="Of a simulation: `audit.json` of one of its sites; once for each.")
    ] = None,
    memorisation: Annotated[
        Path | None, typer.Option(help="`memorisation.json` of `sealora memorisation`, of the same recipe.")
    ] = None,
    base_licence: Annotated[
        str | None, typer.Option(metavar="SPDX", help="The base model's licence, for example apache-2.0.")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="The page as PDF too; Chromium prints it.")] = False,
) -> None:
    """Write what people read and sign before a run's model leaves: what ran, what is promised, what is not known.

    Exit code 1: something speaks against letting it leave. The dossier is written all the same.
    """
    from sealora_server.dossier.write import write_dossier

    written, manifest = write_dossier(
        run, out, parts=part or [], audits=audit or [], memorisation=memorisation, licence=base_licence, pdf=pdf
    )
    say(written.clearance.first_line)
    for sentence in (*written.clearance.against, *written.clearance.open_points):
        say(f"- {sentence}")
    say(f"{out}: {len(manifest.files)} files and {len(manifest.parts)} sites' parts, signed by {manifest.fingerprint}")
    say(f"Read {out / 'dossier.html'}; check it with verify_dossier.py (docs/dossier.md)")
    if written.clearance.against:
        raise typer.Exit(1)
