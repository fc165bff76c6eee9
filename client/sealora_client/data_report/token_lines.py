"""Records token by token on a terminal, with colours and without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora_client.data.source.places import Places
from sealora_client.data_report.preview import ShownRecord, ShownToken

_STYLES = {"given": "", "trained": "green underline", "cut": "dim strike"}
_CONTROL = "bold magenta"
_BAR = "|"
_CUT_SHOWN = 20  # tokens at either end of what is cut


def legend(bars: bool) -> Text:
    """How tokens are shown."""
    return Text.assemble(
        "given: what the model reads; ",
        ("trained", _STYLES["trained"]),
        ": what it learns to say; ",
        ("cut", _STYLES["cut"]),
        ": too long, never seen; ",
        ("⟦control⟧", _CONTROL),
        ": a token that no text can write; ⏎: a line's end",
        f"; {_BAR}: where a token ends" if bars else "",
    )


def show_record(record: ShownRecord, places: Places, console: Console, bars: bool) -> None:
    """One record: a head, then a line for each stretch that is given, trained or cut.

    Args:
        record: to be shown.
        places: where records stand, by their lines.
        console: to show it on.
        bars: whether the ends of tokens are marked.
    """
    console.print()
    place = places.listed([record.line])
    if not place.endswith(f" {record.line}"):  # of several files, where lines are counted through
        place = f"{place} (--line {record.line})"
    if record.unusable is not None:
        head = f"{place}, {record.heap}: teaches and measures nothing, as {record.unusable}"
        console.print(head, style="bold yellow", markup=False, highlight=False)
        return
    seen = [token for token in record.tokens if not token.cut]
    trained = sum(token.trained for token in seen)
    cut = f"; {record.cut} more are cut" if record.cut else ""
    which = f", {record.which}" if record.which else ""
    head = f"{place}, {record.heap}{which}: {len(seen)} tokens, {trained} of them trained on{cut}"
    console.print(head, style="bold", markup=False, highlight=False)
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for kind, stretch in groupby(record.tokens, _kind):
        lines.add_row(Text(kind, style=_STYLES[kind]), _text(list(stretch), _STYLES[kind], bars))
    console.print(lines)


def _kind(token: ShownToken) -> str:
    if token.cut:
        return "cut"
    return "trained" if token.trained else "given"


def _text(tokens: Sequence[ShownToken], style: str, bars: bool) -> Text:
    pieces = [_piece(token, style) for token in tokens]
    if tokens[0].cut and len(pieces) > 2 * _CUT_SHOWN:
        left_out = Text(f" ... {len(pieces) - 2 * _CUT_SHOWN} more ... ", style="dim")
        pieces = [*pieces[:_CUT_SHOWN], left_out, *pieces[-_CUT_SHOWN:]]
    return Text(_BAR if bars else "").join(pieces)


def _piece(token: ShownToken, style: str) -> Text:
    text = token.text.replace("\n", "⏎\n")
    return Text(f"⟦{text}⟧", style=f"{style} {_CONTROL}".strip()) if token.control else Text(text, style=style)


def show_records(records: Iterable[ShownRecord], places: Places, console: Console, bars: bool) -> None:
    """The legend, then one record after the other."""
    console.print(legend(bars))
    for record in records:
        show_record(record, places, console, bars)
