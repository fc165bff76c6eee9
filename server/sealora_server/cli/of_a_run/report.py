"""`sealora report`: a run's page, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.show.say import say


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The run's directory: of a simulation, or a server's runs/NAME.")
    ],
    comparison: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Of a simulation: what `sealora compare --out DIR` measured of its recipe goes in."
        ),
    ] = None,
) -> None:
    """Write a run's report.html anew: after an upgrade, or with each site alone beside all together.

    A run writes its report when it ends; this changes nothing else of it.
    """
    from sealora_server.view.report import rewrite_report

    say(str(rewrite_report(run, comparison)))
