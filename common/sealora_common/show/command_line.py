"""What the commands of both sides have in common: every argument is explained, `--version`, completion by the shell.

cli = command_line()

@cli.callback()
def sealora_site(version: Version = False) -> None: ...
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperArgument

from sealora_common import __version__
from sealora_common.show.say import say


class _ExplainedArgument(TyperArgument):
    """Keeps its `help`, which click 8.5's own constructor sets to None behind typer 0.20's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.help = options.get("help")


typer.main.TyperArgument = _ExplainedArgument  # type: ignore[attr-defined]


def command_line() -> typer.Typer:
    """A program of several commands; without one it shows its help."""
    return typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")


def _tell_version(wanted: bool) -> None:
    if wanted:
        say(f"sealora {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=_tell_version,
        is_eager=True,
        help="Show the version, which server and sites must have in common, and exit.",
    ),
]
