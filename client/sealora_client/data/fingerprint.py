"""A data set by its content: a name that follows from it, and digests of whoever and whatever is in it.

The privacy ledger knows data sets in this form only. The fingerprint names one state of the data; the members'
digests tell that two states share somebody, so that data which grows or changes goes on spending the same budget.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sealora_client.data.record import Record
from sealora_common.recipe.sections.data import Unit

DIGEST_BYTES = 32
PARTS: Final = ("train", "heldout")
"""What a row may say of the part of the data that it is in."""


@dataclass(frozen=True)
class DataSet:
    """What is charged: a set of units of privacy, each a record or all records of one person.

    A record is its text: one that is changed is another record. It is known again by what its file says of it, too:
    a recipe that reads other fields of the same rows, or puts another template around them, makes other texts of the
    same record. A person is their identifier, as `records` reads it, and is known by their rows, too: which field
    identifies persons, and whether it is folded, is a recipe's to say.

    Attributes:
        fingerprint: SHA-256 (hex) over the sorted digests of all content, the same for any order and any file name.
        unit: whom privacy protects.
        members: SHA-256 of each unit (record or person's identifier), sorted; a record that is there twice is two
            units.
        records: SHA-256 of each record's text, whosever it is, sorted. Equal to `members` if the unit is a record.
        rows: SHA-256 of what the file says of each record, see `digest_of_row`, sorted; empty if there is no file.

    Raises:
        ValueError: a digest is not 32 bytes long, or records are not their own members.
    """

    fingerprint: str
    unit: Unit
    members: tuple[bytes, ...] = field(repr=False)
    records: tuple[bytes, ...] = field(repr=False)
    rows: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if any(len(digest) != DIGEST_BYTES for digest in (*self.members, *self.records, *self.rows)):
            raise ValueError(f"expected digests of {DIGEST_BYTES} bytes")
        if self.unit == "record" and self.members != self.records:
            raise ValueError("expected each record to be a member by itself")

    def __len__(self) -> int:
        """Number of units."""
        return len(self.members)

    @property
    def name_of_rows(self) -> str:
        """SHA-256 (hex) over the fingerprint and the rows: what a ledger calls it that knows it with other rows."""
        return _fingerprint(f"sealora dataset rows v1\n{self.fingerprint}\n".encode(), self.rows)

    @classmethod
    def of(cls, records: Sequence[Record]) -> DataSet:
        """The data set of a site's records: by person if they have persons.

        Raises:
            ValueError: some have a person and some have not.
        """
        rows = tuple(sorted(record.row for record in records if record.row))
        count = sum(record.person is not None for record in records)
        if not count:
            return replace(cls.of_records(record.texts for record in records), rows=rows)
        if count != len(records):
            raise ValueError("expected a person for each record, or for none")
        by_person = cls.of_persons((record.person or "", *record.texts) for record in records)
        return replace(by_person, rows=rows)

    @classmethod
    def of_records(cls, records: Iterable[tuple[str, ...]]) -> DataSet:
        """A data set whose every record is a unit by itself.

        Args:
            records: texts of each (`Record.texts`), any number of them, read once.

        >>> one = DataSet.of_records([("a", "b"), ("c", "d")])
        >>> one == DataSet.of_records([("c", "d"), ("a", "b")])
        True
        >>> one == DataSet.of_records([("a", "bc"), ("", "d")])
        False
        """
        digests = tuple(sorted(digest_of_record(*texts) for texts in records))
        return cls(_fingerprint(b"sealora dataset v1\n", digests), "record", digests, digests)

    @classmethod
    def of_persons(cls, records: Iterable[tuple[str, ...]]) -> DataSet:
        """A data set in which all records of one person are one unit.

        Args:
            records: the person's identifier and the texts of each, any number of them, read once.

        >>> before = DataSet.of_persons([("p1", "a", "b")])
        >>> after = DataSet.of_persons([("p1", "a", "b"), ("p1", "c", "d")])
        >>> before.fingerprint == after.fingerprint, before.members == after.members
        (False, True)
        """
        persons: set[bytes] = set()
        digests: list[bytes] = []
        content: list[bytes] = []
        for person, *texts in records:
            persons.add(digest_of_person(person))
            digests.append(digest_of_record(*texts))
            content.append(_sha256(digests[-1], person))
        return cls(
            _fingerprint(b"sealora dataset by person v1\n", sorted(content)),
            "person",
            tuple(sorted(persons)),
            tuple(sorted(digests)),
        )


def digest_of_record(*texts: str) -> bytes:
    """SHA-256 of a record's texts, 32 bytes; of two in the form in which ledgers have known them from the first."""
    if len(texts) == 2:
        first, second = map(_encoded, texts)
        return hashlib.sha256(len(first).to_bytes(8, "big") + first + second).digest()
    whole = hashlib.sha256(b"sealora record v2\n")
    for encoded in map(_encoded, texts):
        whole.update(len(encoded).to_bytes(8, "big") + encoded)
    return whole.digest()


_NOTHING = frozenset({"null", *(json.dumps(part) for part in PARTS)})
"""Values, as JSON, that say nothing of a row."""


def digest_of_row(fields: Mapping[str, object]) -> bytes:
    """SHA-256 of the values of a file's row, 32 bytes: the same under any names and in any order of its fields.

    Nothing of it is the recipe's: which field says in which part of the data a row is, a recipe names, so a part's name
    counts in no field.

    Args:
        fields: values as JSON has them, by name; those that are null say nothing.
    """
    values = (json.dumps(value, sort_keys=True) for value in fields.values())
    content = "\n".join(sorted(value for value in values if value not in _NOTHING))
    return _sha256(b"sealora row v1\n", content)


def digest_of_person(person: str) -> bytes:
    """SHA-256 of a person's identifier, 32 bytes."""
    return _sha256(b"sealora person v1\n", person)


def _fingerprint(domain: bytes, digests: Iterable[bytes]) -> str:
    return hashlib.sha256(domain + b"".join(digests)).hexdigest()


def _sha256(prefix: bytes, text: str) -> bytes:
    return hashlib.sha256(prefix + _encoded(text)).digest()


def _encoded(text: str) -> bytes:
    # Lone surrogates can stand in JSON strings, so they must have bytes as well.
    return text.encode("utf-8", "surrogatepass")
