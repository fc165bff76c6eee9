"""Where the rows of a site's data stand, by their numbers: what a record keeps of its place is one number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from sealora_client.data.formats.kind import Noun

_NAMED = 5


@dataclass(frozen=True)
class _Part:
    """A file, or a query.

    Attributes:
        name: of it, for sentences.
        noun: what its rows are counted in.
        before: number of the last row before its first.
    """

    name: str
    noun: Noun
    before: int


class Places:
    """Rows of several parts, numbered through: row n of a part has the number `before + n`.

    >>> places = Places("a.jsonl")
    >>> places.of(3, 1), places.listed([9, 3])
    ('a.jsonl, lines 1 and 3', 'lines 3, 9')
    """

    def __init__(self, name: str, noun: Noun = "line") -> None:
        self._parts = [_Part(name, noun, 0)]
        self._begun = False

    def begin(self, name: str, noun: Noun, before: int) -> None:
        """Begins a part whose rows come from here on."""
        part = _Part(name, noun, before)
        if self._begun:
            self._parts.append(part)
        else:
            self._parts, self._begun = [part], True

    def of(self, *numbers: int) -> str:
        """Part and place of one row, or of two, to begin a sentence with."""
        return " and ".join(f"{part.name}, {_counted(part, own, ' and ')}" for part, own in self._by_part(numbers))

    def listed(self, numbers: Iterable[int]) -> str:
        """The first few of these rows, and how many more there are; with their files if there are several."""
        ordered = sorted(numbers)
        return self.first_listed(ordered, len(ordered))

    def first_listed(self, first: Sequence[int], count: int) -> str:
        """The same of `count` rows of which only some, the first, are known by number."""
        ordered = sorted(first)
        more = count - min(len(ordered), _NAMED)
        said = "; ".join(
            (f"{part.name}: " if len(self._parts) > 1 else "") + _counted(part, own, ", ")
            for part, own in self._by_part(ordered[:_NAMED])
        )
        return f"{said} and {more} more" if more > 0 else said

    def _by_part(self, numbers: Iterable[int]) -> list[tuple[_Part, list[int]]]:
        places = [(self._at(number), number) for number in sorted(numbers)]
        return [(self._parts[at], [n for _, n in own]) for at, own in groupby(places, key=lambda place: place[0])]

    def _at(self, number: int) -> int:
        return max(0, bisect_right(self._parts, number - 1, key=lambda part: part.before) - 1)


def _counted(part: _Part, numbers: list[int], between: str) -> str:
    noun = part.noun if len(numbers) == 1 else f"{part.noun}s"
    return f"{noun} {between.join(str(number - part.before) for number in numbers)}"
