"""Which records are held out, so that no person and no group of near-duplicates is in both parts.

What belongs together stays together: the records of a person, and those that are nearly the same. A group by itself is
held out or not by the hash that decides it where a file has no split (`read_records`), of the first of its owners in
alphabetical order; so a record that is like no other stays where it was. With strata, each has its share held out: of
its groups, those with the smallest hashes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealora_client.data.formats.format import Row
from sealora_client.data.record import Record
from sealora_client.data.records import owner_of, share_before
from sealora_client.data_cleaning.copies import Doings
from sealora_client.data_cleaning.rows import RecordReader, rows_of
from sealora_client.data_quality.disjoint_sets import DisjointSets
from sealora_client.data_quality.near import near_groups
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection


@dataclass(frozen=True)
class Stratum:
    """Records with one value in the field that strata are made by.

    Attributes:
        value: of the field, as text; empty if there are no strata.
        records: that have it.
        heldout: how many of them are held out.
    """

    value: str
    records: int
    heldout: int


@dataclass(frozen=True)
class _Group:
    """Records that stay together.

    Attributes:
        places: of them.
        owner: the first of their owners, in alphabetical order.
    """

    places: tuple[int, ...]
    owner: tuple[str, ...]

    @property
    def share(self) -> float:
        return share_before(list(self.owner))


def split_copy(
    path: Path, section: DataSection, fraction: float, similarity: float, stratify: str | None = None
) -> tuple[list[dict[str, object]], Doings, list[Stratum]]:
    """The objects of the copy, each with its part in the recipe's split field; what was done; and the strata.

    Args:
        path: of the data, which is left as it is. What it says of parts is forgotten.
        section: of the recipe; its `person_field` names the persons that stay together.
        fraction: of the records is held out, about so many, in (0, 1).
        similarity: from which on two records are nearly the same.
        stratify: a field of each object; of the records with equal values about `fraction` each is held out, and at
            least one group of two.

    Raises:
        DataError: the file cannot be read, an object is no record or has no such field, or one part would be empty.
        MissingLibraryError: there is no library to find near-duplicates.
    """
    rows, records = _read(path, section)
    groups = _groups(records, similarity)
    strata = [_stratum(row, stratify) for row in rows]
    if stratify is None:
        heldout = {place for group in groups if group.share < fraction for place in group.places}
    else:
        heldout = _by_stratum(groups, strata, fraction)
    if not 0 < len(heldout) < len(rows):
        raise DataError(
            f"{path}: the {len(rows)} records make {len(groups)} groups of which no share of {fraction:g} can be held "
            "out: use another --heldout, a larger --similarity, or --stratify by a field"
        )
    parts = ["heldout" if place in heldout else "train" for place in range(len(rows))]
    doings = Doings(read=len(rows), written=len(rows))
    for row, part in zip(rows, parts, strict=True):
        if row.fields.get(section.split_field) not in (None, part):
            doings.note("moved to another part than the data said", row.line)
    for place in sorted(heldout):
        doings.note("held out", rows[place].line)
    copy: list[dict[str, object]] = [
        {**row.fields, section.split_field: part} for row, part in zip(rows, parts, strict=True)
    ]
    return copy, doings, _counted(strata, heldout)


def _read(path: Path, section: DataSection) -> tuple[list[Row], list[Record]]:
    reader = RecordReader(path, section)
    rows, records = [], []
    for row in rows_of(path):
        rows.append(row)
        records.append(reader.record(row))
    if not rows:
        raise DataError(f"{path} has no records: there is nothing to split")
    return rows, records


def _groups(records: Sequence[Record], similarity: float) -> list[_Group]:
    sets = DisjointSets(len(records))
    for place, first in enumerate(near_groups(["\n".join(record.texts) for record in records], similarity)):
        sets.join(first, place)
    of_owner: dict[Hashable, int] = {}
    owners = [tuple(owner_of(record)) for record in records]
    for place, owner in enumerate(owners):
        sets.join(of_owner.setdefault(owner, place), place)
    together: dict[int, list[int]] = defaultdict(list)
    for place in range(len(records)):
        together[sets.of(place)].append(place)
    return [_Group(tuple(places), min(owners[place] for place in places)) for places in together.values()]


def _stratum(row: Row, field: str | None) -> str:
    if field is None:
        return ""
    value = row.fields.get(field)
    if not isinstance(value, str | int):
        raise DataError(
            f'{row.place}: the field "{field}" holds no text, whole number or truth value to make strata by: add it, '
            "or name another with --stratify"
        )
    return str(value).strip()


def _by_stratum(groups: Sequence[_Group], strata: Sequence[str], fraction: float) -> set[int]:
    """Places of the records that are held out.

    A group with records of several strata counts in each, and is decided on in the rarest of them.
    """
    sizes: dict[str, int] = defaultdict(int)
    for stratum in strata:
        sizes[stratum] += 1
    of_stratum: dict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        of_stratum[min((strata[place] for place in group.places), key=lambda value: (sizes[value], value))].append(
            group
        )
    heldout: set[int] = set()
    for stratum in sorted(of_stratum, key=lambda value: (sizes[value], value)):
        own = sorted(of_stratum[stratum], key=lambda group: (group.share, group.owner))
        taken = sum(strata[place] == stratum for place in heldout)
        for number, group in enumerate(own):
            size = sum(strata[place] == stratum for place in group.places)
            is_first_of_several = number == 0 and taken == 0 and len(own) > 1
            if is_first_of_several or (taken + size / 2 <= fraction * sizes[stratum] and number < len(own) - 1):
                heldout.update(group.places)
                taken += size
    return heldout


def _counted(strata: Sequence[str], heldout: set[int]) -> list[Stratum]:
    records: dict[str, int] = defaultdict(int)
    held: dict[str, int] = defaultdict(int)
    for place, stratum in enumerate(strata):
        records[stratum] += 1
        held[stratum] += place in heldout
    return [Stratum(value, records[value], held[value]) for value in sorted(records)]
