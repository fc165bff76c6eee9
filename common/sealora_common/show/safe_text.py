"""The one place that makes text which somebody else wrote fit to be shown, logged or put into a sentence.

What is taken out: control characters and with them every escape sequence (ECMA-48), line ends, all of Unicode's format
characters (bidirectional overrides, zero-width marks, tags), unassigned and private ones, halves of surrogate pairs,
letters that are drawn as nothing, and piles of combining marks that would cover the lines around them.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 4000
"""Characters of a line, unless a caller says otherwise."""
_MOST_MARKS = 4
# Letters and marks of no width or without ink, which Unicode does not count among the format characters.
_INKLESS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_ENDS = "..."


def safe_text(text: str, longest: int = LONGEST, *, lines: bool = False) -> str:
    """`text` as it can be shown; what cannot be is a space. Text that is fit to be shown comes back as it was.

    Args:
        text: what somebody else wrote.
        longest: characters of the result at most; what is cut ends in `...`.
        lines: whether it may have several lines, ended by line feeds.
    """
    seen = text[: longest + 1]
    if not (seen.isascii() and seen.isprintable()):
        seen = "\n".join(map(_line, seen.split("\n"))) if lines else _line(seen)
    return seen if len(seen) <= longest else seen[: max(0, longest - len(_ENDS))] + _ENDS[:longest]


def safe_json(text: str, *, in_ascii: bool = False) -> str:
    """JSON text on one line, with each character that `safe_text` would take out as its `\\u` escape (RFC 8259).

    Args:
        text: without line ends, which stand between values and have no escape there.
        in_ascii: whether all characters beyond ASCII are escaped as well.
    """
    return "".join(mark if _is_shown(mark) and (mark.isascii() or not in_ascii) else _escaped(mark) for mark in text)


def _line(text: str) -> str:
    shown, piled = [], 0
    for mark in text:
        piled = piled + 1 if unicodedata.category(mark) in ("Mn", "Me") else 0
        shown.append(mark if _is_shown(mark) and piled <= _MOST_MARKS else " ")
    return "".join(shown)


def _is_shown(mark: str) -> bool:
    return mark.isprintable() and not _INKLESS.match(mark)


def _escaped(mark: str) -> str:
    units = mark.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
