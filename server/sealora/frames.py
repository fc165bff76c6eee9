"""Tables as DataFrames of pandas, which alone needs it, and as HTML for a notebook, which needs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from sealora_common.errors import SealoraError
from sealora_common.show.safe_text import safe_text

if TYPE_CHECKING:
    import pandas as pd

_LONGEST: Final = 400
_CELL: Final = "padding: 0.15em 1em 0.15em 0; text-align: "


def data_frame(rows: Iterable[Mapping[str, object]], columns: Mapping[str, str], **told: str) -> pd.DataFrame:
    """The rows as a DataFrame.

    Args:
        rows: one a row, with all of the columns; pandas makes NaN of a None among numbers.
        columns: column -> its unit, for `attrs["units"]`; empty where it has none.
        told: what else `attrs` says.

    Raises:
        SealoraError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise SealoraError("a DataFrame takes pandas, which is not installed: pip install pandas") from None
    frame = pandas.DataFrame(list(rows), columns=list(columns))
    frame.attrs |= {"units": {name: unit for name, unit in columns.items() if unit}, **told}
    return frame


def html_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A small table for a notebook: all of it escaped, none of it from elsewhere.

    Args:
        title: above it.
        columns: headings; the first column is to the left, the others to the right.
        rows: texts of their cells.
        notes: lines below it.
    """
    head = "".join(_cell("th", text, place) for place, text in enumerate(columns))
    body = "".join(f"<tr>{''.join(_cell('td', text, place) for place, text in enumerate(row))}</tr>" for row in rows)
    lines = "".join(f"<div>{_safe(note)}</div>" for note in notes)
    return (
        f'<div style="line-height: 1.4"><div><b>{_safe(title)}</b></div>'
        f'<table style="border-collapse: collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"{lines}</div>"
    )


def _cell(tag: str, text: str, place: int) -> str:
    return f'<{tag} style="{_CELL}{"right" if place else "left"}">{_safe(text)}</{tag}>'


def _safe(text: str) -> str:
    return escape(safe_text(text, _LONGEST))
