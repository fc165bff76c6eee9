"""Who is in a data set, as the ledger keeps it: keyed digests, which tell only that two data sets share somebody.

A member is kept as the first 8 bytes of HMAC-SHA-256 (RFC 2104) of its digest, under a random key of the ledger. The
key lies in the ledger. So these bytes alone tell nobody who is in the data, but whoever holds the ledger or an export
of it can look a candidate up: both are as confidential as a list of the members.

Two members have the same 8 bytes by chance with probability 2^-64, and two data sets of 50,000 have a pair of such
members with less than 10^-9. They then count against each other, which errs on the safe side.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.fingerprint import DataSet
from sealora_common.entropy import SystemEntropy
from sealora_common.recipe.sections.data import Unit

KEY_BYTES = 32
_TAG_BYTES = 8
_STORED = np.dtype("<u8")


def new_member_key() -> bytes:
    """A fresh key to digest members under."""
    return SystemEntropy().bytes(KEY_BYTES)


@dataclass(frozen=True)
class KeyedMembers:
    """The members and the records of one data set as keyed digests.

    Attributes:
        unit: whom privacy protects.
        members: uint64, sorted, each once, shape (members,): of the units, and of the rows that they stand in.
        records: likewise of the records' texts and rows; the same array if the unit is a record.
    """

    unit: Unit
    members: NDArray[np.uint64]
    records: NDArray[np.uint64]

    @classmethod
    def of(cls, dataset: DataSet, key: bytes) -> KeyedMembers:
        """The data set's members under the ledger's key."""
        records = _keyed((*dataset.records, *dataset.rows), key)
        members = records if dataset.unit == "record" else _keyed((*dataset.members, *dataset.rows), key)
        return cls(dataset.unit, members, records)

    @classmethod
    def from_bytes(cls, unit: Unit, members: bytes, records: bytes) -> KeyedMembers:
        """The inverse of `members_bytes` and `records_bytes`.

        Raises:
            ValueError: a length is not a multiple of 8.
        """
        decoded = np.frombuffer(members, dtype=_STORED).astype(np.uint64)
        if unit == "record":
            return cls(unit, decoded, decoded)
        return cls(unit, decoded, np.frombuffer(records, dtype=_STORED).astype(np.uint64))

    @property
    def members_bytes(self) -> bytes:
        """All members, 8 bytes each, little-endian."""
        return self.members.astype(_STORED).tobytes()

    @property
    def records_bytes(self) -> bytes:
        """All records likewise; empty if they are the members."""
        return b"" if self.unit == "record" else self.records.astype(_STORED).tobytes()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) that an entry binds these members by."""
        return members_digest(self.unit, self.members_bytes, self.records_bytes)

    def holds(self, dataset: DataSet, key: bytes) -> bool:
        """Whether these may be the members of `dataset` under this key, whose rows may be others by now.

        A ledger that was begun before it knew rows has none, and a file may have got another column.
        """
        plain = KeyedMembers.of(replace(dataset, rows=()), key)
        return _all_in(plain.members, self.members) and _all_in(plain.records, self.records)

    def knows_rows_of(self, dataset: DataSet, key: bytes) -> bool:
        """Whether all rows of `dataset` are among these members."""
        return _all_in(_keyed(dataset.rows, key), self.members)

    def overlaps(self, other: KeyedMembers) -> bool:
        """Whether somebody's data is, or may be, in both.

        Data sets of one unit overlap if they share a member, or a row that stands in both: a row names its person, by
        whichever of its fields a recipe tells persons apart. Across units only texts and rows can be compared: a set of
        records does not know whose they are, so one of them that stands in a set of persons is overlap.
        """
        if self.unit == other.unit:
            return (
                _share(self.members, other.members)
                or _share(self.members, other.records)  # where an earlier version has kept the rows of persons
                or _share(self.records, other.members)
            )
        return _share(self.records, other.records)


def members_digest(unit: Unit, members: bytes, records: bytes) -> str:
    """SHA-256 (hex) over the unit and both blobs."""
    head = f"sealora ledger members v1\n{unit}\n{len(members)}\n".encode()
    return hashlib.sha256(head + members + records).hexdigest()


def _keyed(digests: Iterable[bytes], key: bytes) -> NDArray[np.uint64]:
    tags = b"".join(hmac.digest(key, digest, "sha256")[:_TAG_BYTES] for digest in digests)
    return np.unique(np.frombuffer(tags, dtype=_STORED).astype(np.uint64))


def _all_in(few: NDArray[np.uint64], many: NDArray[np.uint64]) -> bool:
    return bool(np.isin(few, many).all())


def _share(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> bool:
    """Whether two sorted arrays have a value in common."""
    few, many = (one, other) if one.size <= other.size else (other, one)
    if few.size == 0:
        return False
    places = np.searchsorted(many, few)
    return bool((many[np.minimum(places, many.size - 1)] == few).any())
