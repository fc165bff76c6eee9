"""The console of every command: Rich's, with each piece of text made safe as it is drawn, and how an error is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from sealora_common.errors import SealoraError
from sealora_common.show.safe_text import safe_text

_LONGEST = 2**20
_PIPED_WIDTH = 2**16
"""Columns of what is no terminal: what a program reads is one line a row."""


class SafeConsole(Console):
    """A console on which no text, wherever in a table or frame it stands, can steer the terminal.

    Rich writes its own colours and cursor movements beside the text of a segment, never in it.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Rich has it, with safe text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else safe_text(text, _LONGEST, lines=True), style, control)


def keep_rows_whole(console: Console) -> None:
    """Has each row of a table, and each line, printed as one line and whole where the output is no terminal.

    For what is there to be compared or read by a program; a terminal has its own width.
    """
    if not console.is_terminal:
        console.width = _PIPED_WIDTH


def tell_error(error: SealoraError, to: IO[str] | None = None) -> None:
    """Tells a person, on standard error, what went wrong: one line."""
    out = SafeConsole(stderr=to is None, file=to, highlight=False, soft_wrap=True)
    out.print(f"Error: {error}", style="bold red", markup=False)
