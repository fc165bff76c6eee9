"""Who is protected: the units of privacy of a site's data, and the examples that each brings."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from sealora_client.data.example import Example

Unit = tuple[Example, ...]


@dataclass(frozen=True)
class Population:
    """Training examples by unit of privacy: those of each record by themselves, or all of one person's together.

    Attributes:
        units: the examples of each unit; none is empty. They may lie in a file, and are read anew each time then.
    """

    units: Sequence[Unit]

    def __len__(self) -> int:
        """N, the number of units."""
        return len(self.units)

    @property
    def examples(self) -> int:
        """Number of examples of all units together."""
        return sum(len(unit) for unit in self.units)

    @classmethod
    def of(cls, examples: Sequence[Example], persons: Sequence[str | None] | None = None) -> Population:
        """The units of `examples`: each with what follows it, or by the person at the same place in `persons`.

        >>> len(Population.of([], persons=[]))
        0
        """
        if persons is None:
            return cls(_Units(examples, None))
        by_person: dict[str | None, array[int]] = {}
        for place, (_, person) in enumerate(zip(range(len(examples)), persons, strict=True)):
            by_person.setdefault(person, array("Q")).append(place)
        return cls(_Units(examples, list(by_person.values())))


class _Units(Sequence[Unit]):
    """Units made of examples when they are asked for.

    Args:
        examples: of all units, one a record, each with what follows it.
        places: of each unit's records; None if each is a unit by itself.
    """

    def __init__(self, examples: Sequence[Example], places: Sequence[Sequence[int]] | None) -> None:
        self._examples = examples
        self._places = places

    def __len__(self) -> int:
        return len(self._examples) if self._places is None else len(self._places)

    @overload
    def __getitem__(self, number: int) -> Unit: ...

    @overload
    def __getitem__(self, number: slice) -> tuple[Unit, ...]: ...

    def __getitem__(self, number: int | slice) -> Unit | tuple[Unit, ...]:
        if isinstance(number, slice):
            return tuple(self[each] for each in range(*number.indices(len(self))))
        if self._places is None:
            return self._examples[number].pieces
        return tuple(piece for place in self._places[number] for piece in self._examples[place].pieces)

    def __iter__(self) -> Iterator[Unit]:
        return (self[number] for number in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as lists have it
