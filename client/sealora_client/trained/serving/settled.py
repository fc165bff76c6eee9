"""Which part of a text that still grows can be told: nothing that was told is taken back."""

from __future__ import annotations

from collections.abc import Sequence

from sealora_common.errors import ModelError

_OPEN = 4
"""Characters at its end that the next token may change: those of a letter that has not all its bytes yet, and the
white space that tokenizers take away before a mark or before `n't`."""


def before_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text up to the first of `stops`, and whether there was one.

    >>> before_stop("fever: R50", [":", "e"])
    ('f', True)
    """
    found = min((place for stop in stops if (place := text.find(stop)) >= 0), default=-1)
    return (text, False) if found < 0 else (text[:found], True)


class SettledText:
    """What has been told of a text, which is whole at the end.

    Args:
        stops: before which it ends; what may be the beginning of one is not told.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._open = max([_OPEN, *(len(stop) - 1 for stop in stops)])
        self._told = ""

    def grown(self, text: str) -> str:
        """What can be told now of `text`, which is all there is so far."""
        settled = text[: max(0, len(text) - self._open)].rstrip()
        return self._further(settled) if settled.startswith(self._told) else ""

    def ended(self, text: str) -> str:
        """The rest of the whole text.

        Raises:
            ModelError: it does not begin with what was told.
        """
        if not text.startswith(self._told):
            raise ModelError("the base model's tokenizer rewrites what it has written: ask without stream")
        return self._further(text)

    def _further(self, text: str) -> str:
        further, self._told = text[len(self._told) :], text
        return further
