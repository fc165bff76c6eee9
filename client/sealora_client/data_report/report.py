"""What a report on a site's data holds: numbers and lines, never a record's text or a person's identifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from sealora_client.data_quality.damage import Damage

SAMPLE: Final = 20_000
"""So many records at most are compared and searched, unless a person asks for more."""
Heap = Literal["training", "held out", "evaluated"]
"""The two parts of the data, and those of the held-out records that are evaluated."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True)


class Spread(_Section):
    """How whole numbers are distributed, by percentiles (the smallest number that so many are no larger than)."""

    least: int
    median: int
    percentile_90: int
    percentile_99: int
    most: int

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Spread | None:
        """Of these; None if there are none.

        >>> Spread.of(range(1, 101)).percentile_90
        90
        """
        found = np.fromiter(numbers, dtype=np.int64)
        if not len(found):
            return None
        least, *others = np.percentile(found, [0, 50, 90, 99, 100], method="inverted_cdf")
        median, nine_tenths, nearly_all, most = map(int, others)
        return cls(least=int(least), median=median, percentile_90=nine_tenths, percentile_99=nearly_all, most=most)


class HeapSize(_Section):
    """How much there is of a part.

    Attributes:
        heap: which part.
        records: in it.
        units: of privacy.
        records_of_unit: how many records a unit has, if units are persons.
    """

    heap: Heap
    records: int
    units: int
    records_of_unit: Spread | None


class Lengths(_Section):
    """How long something of the records is, over both parts.

    Attributes:
        of: what, and in which unit.
        spread: over the records that have it.
    """

    of: str
    spread: Spread


class TooLong(_Section):
    """Records that are cut to the recipe's `data.max_tokens`.

    Attributes:
        limit: that many tokens.
        records: that are cut.
        cut: by how many tokens those are too long; None if there are none.
    """

    limit: int
    records: int
    cut: Spread | None


class Likeness(_Section):
    """Near-duplicates.

    Attributes:
        looked_at: records that were compared.
        similarity: from which on two are nearly the same.
        repeated: those that are nearly the same as one before them, exact copies among them.
        groups: how many groups of records that are nearly the same there are.
        leaked: held-out records that are nearly the same as one that is trained on.
    """

    looked_at: int
    similarity: float
    repeated: int
    groups: int
    leaked: int


class Tally(_Section):
    """How many records are of a kind.

    Attributes:
        name: of the kind.
        records: that are.
    """

    name: str
    records: int


class LabelTally(_Section):
    """How often a label is to be said. Its name is the recipe's; one that only the records have is told by its rank."""

    name: str
    training: int
    heldout: int


class DamageTally(_Section):
    """Records with texts that look damaged in one way."""

    damage: Damage
    records: int


class PersonalTally(_Section):
    """Personal data of one kind, by Presidio's name.

    Attributes:
        kind: its name.
        records: that have some.
        places: where some stands.
    """

    kind: str
    records: int
    places: int


class Personal(_Section):
    """Personal data that has a pattern.

    Attributes:
        looked_at: records that were looked at.
        looked_for: the kinds that would have been found.
        found: those that were, the most frequent first.
    """

    looked_at: int
    looked_for: tuple[str, ...]
    found: tuple[PersonalTally, ...]


class DataReport(_Section):
    """A site's data under a recipe.

    Attributes:
        data: the file.
        recipe: the recipe's name.
        problems: what stops a run, one sentence each. If the data cannot be read, there is nothing else.
        remarks: what a person should look into, one sentence each.
        left_out: what was not looked at, why, and what to do about it.
        unread: names of fields that nothing is trained of, as the recipe does not read them.
    """

    data: str
    recipe: str
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    sizes: tuple[HeapSize, ...] = ()
    lengths: tuple[Lengths, ...] = ()
    too_long: TooLong | None = None
    unusable: tuple[Tally, ...] = ()
    copies: int = 0
    likeness: Likeness | None = None
    labels: tuple[LabelTally, ...] = ()
    languages: tuple[Tally, ...] = ()
    damage: tuple[DamageTally, ...] = ()
    personal: Personal | None = None
