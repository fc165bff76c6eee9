"""What belongs together, as pairs that do are told one by one (union-find)."""

from __future__ import annotations


class DisjointSets:
    """Sets of places 0 to `count` - 1, each place at first by itself, and each set known by its smallest place."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def of(self, place: int) -> int:
        """The smallest place of the set that `place` is in."""
        while self._above[place] != place:
            self._above[place] = self._above[self._above[place]]
            place = self._above[place]
        return place

    def join(self, one: int, other: int) -> None:
        """Makes one set of the two."""
        first, second = sorted((self.of(one), self.of(other)))
        self._above[second] = first
