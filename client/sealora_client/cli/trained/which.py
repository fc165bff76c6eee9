"""Which run's adapter a command is about, and at which site: the words that all of them take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

KeptRunName = Annotated[
    str | None,
    typer.Argument(help="The beginning of a run's id, or its recipe's name.", show_default="the newest here"),
]
"""Of a run that the site keeps."""
RunName = Annotated[
    str | None,
    typer.Argument(
        help="The beginning of a run's id, its recipe's name, or a run's directory.", show_default="the newest here"
    ),
]
"""Of one that it keeps, or where one is."""
SiteDirectory = Annotated[Path, typer.Option("--directory", help="The site's directory.", show_default=".")]
