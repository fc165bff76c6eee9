"""Whose a record is. What protects a person ends where the same person goes by another name, so identifiers that a
reader takes for one, and a computer for two, are refused, or folded into one if the recipe says so.

Alike are identifiers that differ in case, in white space around them or in how much of it stands within, in characters
that cannot be seen, or in Unicode's forms of one character (a full-width digit, a ligature, an accent as a mark of its
own). Letters of two scripts that look the same are not noticed, nor is `007` for 7: a reader cannot tell either.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from sealora_client.data.source.places import Places
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

_BLANK = frozenset("\u2800")  # braille's blank, which Unicode does not count as white space
# Default_Ignorable_Code_Point of Unicode, as far as its category is not Cf already.
_UNSEEN = frozenset(
    map(chr, [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, *range(0xFE00, 0xFE10), 0xFFA0])
) | frozenset(map(chr, range(0xE0000, 0xE1000)))


def fold(identifier: str) -> str:
    """The one form of all identifiers that are alike; folding it again changes nothing.

    Case-folded and in Unicode's compatibility form (NFKC), without invisible characters, single spaces for white space
    and none around.

    >>> fold(" Ada\\u00a0\\u200bLOVELACE") == fold("ada  lovelace") == "ada lovelace"
    True
    """
    if identifier.isascii() and identifier.isprintable():
        return " ".join(identifier.casefold().split())
    folded = _folded_once(identifier)
    while (again := _folded_once(folded)) != folded:  # folding case can make what has another form, and so on
        folded = again
    return folded


class Persons:
    """The persons of one site's data, told apart as its lines are read.

    Args:
        places: where lines stand, for messages.
        section: names the field that says whose a record is, and whether to fold.
    """

    def __init__(self, places: Places, section: DataSection) -> None:
        self._places = places
        self._field = section.person_field or ""
        self._folds = section.fold_persons
        self._first: dict[str, tuple[str, int]] = {}

    def of(self, line: int, record: Mapping[str, object]) -> str:
        """Whose the record in `line` is: as it is written, a whole number in decimal; folded if the recipe says so.

        Raises:
            DataError: it names nobody, or is like the identifier of another line without being the same.
        """
        place = self._places.of(line)
        value = record.get(self._field)
        written = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        folded = fold(written)
        if not folded:
            raise DataError(
                f'{place}: the field "{self._field}" names no person, as {self._why_nobody(record)}: give it a text or '
                "a whole number, or name the right field in the recipe's data.person_field"
            )
        if self._folds:
            return folded
        if any(_is_blank(end) or _is_unseen(end) for end in (written[0], written[-1])):
            raise DataError(
                f'{place}: the identifier in the field "{self._field}" begins or ends with white space or a character '
                "that cannot be seen, which makes it another person elsewhere: take it away, or agree on "
                "data.fold_persons: true"
            )
        first, first_line = self._first.setdefault(folded, (written, line))
        if first != written:
            raise DataError(
                f'{self._places.of(first_line, line)}: the identifiers in the field "{self._field}" differ in '
                "nothing but case, white space or Unicode form: write them alike if they are one person, more "
                "differently if they are two, or agree on data.fold_persons: true, which takes them for one"
            )
        return written

    def _why_nobody(self, record: Mapping[str, object]) -> str:
        """In words, and without the value: what is said of a person's identifier is read by others."""
        if self._field not in record:
            return "it is missing"
        value = record[self._field]
        if value is None or isinstance(value, str):
            return "it is blank"
        kinds = {bool: "a truth value", float: "a number with a decimal point", list: "a list", dict: "an object"}
        return f"it is {kinds[type(value)]}"


def _folded_once(text: str) -> str:
    normal = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = (" " if _is_blank(character) else character for character in normal if not _is_unseen(character))
    return " ".join("".join(seen).split())


def _is_blank(character: str) -> bool:
    return character.isspace() or character in _BLANK


def _is_unseen(character: str) -> bool:
    if character.isspace():
        return False
    return unicodedata.category(character) in ("Cf", "Cc") or character in _UNSEEN
