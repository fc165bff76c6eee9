"""Who is protected: the units of privacy of a site's data, and the examples that each brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealora_client.data.example import Example


@dataclass(frozen=True)
class Population:
    """Training examples by unit of privacy: those of each record by themselves, or all of one person's together.

    Attributes:
        units: the examples of each unit; none is empty.
    """

    units: tuple[tuple[Example, ...], ...]

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
            return cls(tuple(example.pieces for example in examples))
        by_person: dict[str | None, list[Example]] = {}
        for example, person in zip(examples, persons, strict=True):
            by_person.setdefault(person, []).extend(example.pieces)
        return cls(tuple(tuple(unit) for unit in by_person.values()))
