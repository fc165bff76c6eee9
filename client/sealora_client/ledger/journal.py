"""The append-only file of entries, checked whenever it is opened, before anything is added, and on request.

Opening checks every hash, the order of the entries and the head, and the signature of the last entry, which vouches for
all before it. `verify` reads everything again and checks every signature and every list of members as well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from sealora_client.ledger.entries import Accepted, Begun, DamageError, Entry, Restored, SealedEntry, now
from sealora_client.ledger.head import Head, head_path, read_head, write_head
from sealora_client.ledger.members import KeyedMembers, members_digest, new_member_key
from sealora_client.ledger.state import DataSetRow, LedgerState
from sealora_client.ledger.store import (
    immediate,
    open_store,
    read_entries,
    read_members,
    storage_failures,
    write_entry,
    write_members,
)
from sealora_common.errors import StorageError
from sealora_common.identity import Identity, key_pin

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """What a whole ledger was found to be.

    Attributes:
        entries: how many.
        hash: of the last one, hex.
        signed_by: pin (`key_pin`) of the key whose signature the last one carries; empty if the ledger is not signed.
        marks: entries by which a person accepted or restored the ledger.
    """

    entries: int
    hash: str
    signed_by: str
    marks: tuple[Accepted | Restored, ...]


class Journal:
    """The entries of the ledger at `path`, and the state that follows from them. Safe to share between processes.

    Args:
        path: the ledger's file; begun if it is missing.
        identity: the site's; it signs what is added. Without one, a signed ledger can only be read.
        accepting: a person takes the ledger as it is: it may be signed by another key, and its head may be missing.

    Raises:
        StorageError: (by every method as well) the file cannot be read or written, is not a ledger, or is damaged.
    """

    def __init__(self, path: Path, identity: Identity | None = None, *, accepting: bool = False) -> None:
        self.path = path
        self._identity = identity
        self._any_key = accepting
        self._lock = threading.RLock()
        self._state = LedgerState()
        head = read_head(path)  # before the ledger, which may grow meanwhile: the head never runs ahead of it
        if head is not None and not path.exists():
            raise StorageError(
                f"{path}: the privacy ledger is missing, and {head_path(path).name} tells of {head.number} entries: "
                "put it back from a backup, or run `sealora-site budget restore` with the newest export"
            )
        self._connection = open_store(path)
        try:
            self._begin(head)
            with self.reading() as state:
                # Another process may have made the ledger, its head and more entries since the head was looked for.
                if head is None and (head := read_head(path)) is not None:
                    self._catch_up()
                require_head(head, state, missing_ok=accepting)
                behind = (head.number if head else 0) < state.number
                mine = self._may_sign(state)
            if behind and mine and not accepting:
                self._advance_head()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. Closing twice does no harm."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[LedgerState]:
        """The state as it is now."""
        with self._lock, storage_failures(self.path), self._naming_damage():
            self._catch_up()
            yield self._state

    @contextmanager
    def writing(self, *, head_may_lag: bool = False) -> Iterator[LedgerState]:
        """The state, while no other process can add to them; what is appended is on the disk at the end, or nothing is.

        Should the head then not be written, the entries are there all the same, and `StorageError` is raised; with
        `head_may_lag` that is logged, and the head catches up when the ledger is written to or opened next.
        """
        with self._lock:
            try:
                with immediate(self._connection, self.path), self._naming_damage():
                    self._catch_up()
                    before = self._state.number
                    yield self._state
                    added = self._state.number > before
            except BaseException:
                self._state = LedgerState()  # it may be ahead of the disk now, so it is made anew
                raise
            if added:
                try:
                    self._advance_head()
                except StorageError as error:
                    if not head_may_lag:
                        raise
                    log.warning("%s", error)

    def append(self, kind: Callable[..., Entry], **fields: Any) -> int:
        """Adds an entry of this kind with these fields, within `writing`; returns its number."""
        if not self._may_sign(self._state):
            raise StorageError(f"the privacy ledger {self.path} is signed: it takes the site's identity to add to it")
        entry = kind(number=self._state.number + 1, created=now(), **fields)
        sealed = SealedEntry.seal(entry, self._state.hash, self._identity)
        write_entry(self._connection, entry.number, sealed)
        self._state.take(sealed)
        return entry.number

    def append_members(self, dataset: int, keyed: KeyedMembers) -> None:
        """Adds the members of the data set whose entry was just appended."""
        write_members(self._connection, dataset, keyed.members_bytes, keyed.records_bytes)

    def members(self, row: DataSetRow) -> KeyedMembers:
        """The members of a data set of the ledger, within `reading` or `writing`."""
        blobs = read_members(self._connection, row.id)
        if blobs is None:
            raise DamageError(row.id, "the list of its data set's members is missing")
        if members_digest(row.unit, *blobs) != row.members_digest:
            raise DamageError(row.id, "the list of its data set's members was changed")
        return KeyedMembers.from_bytes(row.unit, *blobs)

    def sealed_entries(self) -> list[SealedEntry]:
        """All entries as they lie there, within `reading`."""
        return list(self._read(1))

    def verify(self) -> Verified:
        """Reads everything anew and checks it: every hash, signature and list of members, and the head."""
        with self._lock, storage_failures(self.path), self._naming_damage():
            head = read_head(self.path)
            state = LedgerState()
            state.extend(self._read(1), every_signature=True)
            self._require_own_key(state)
            require_head(head, state, missing_ok=self._any_key)
            for row in state.datasets.values():
                self.members(row)
            pin = key_pin(state.key) if state.key else ""
            return Verified(state.number, state.hash.hex(), pin, tuple(state.marks))

    def _begin(self, head: Head | None) -> None:
        """Writes the first entry of a new ledger."""
        with storage_failures(self.path):
            if next(read_entries(self._connection, 1), None) is not None:
                return
        public_key = "" if self._identity is None else self._identity.public_key_text
        with immediate(self._connection, self.path), self._naming_damage():
            if next(read_entries(self._connection, 1), None) is not None:  # another process was quicker
                return
            require_head(head, LedgerState(), missing_ok=True)
            begun = Begun(number=1, created=now(), member_key=new_member_key().hex(), public_key=public_key)
            write_entry(self._connection, 1, SealedEntry.seal(begun, LedgerState().hash, self._identity))

    def _catch_up(self) -> None:
        """Takes the entries that were added since, after making sure that the last known one is still there."""
        known = self._state.number
        rows = self._read(max(known, 1))
        try:
            if known:
                row = next(rows, None)
                if row is None or row.hash != self._state.hash:
                    raise DamageError(known, "it was removed or changed while the ledger was in use")
            self._state.extend(rows)
        except DamageError:
            self._state = LedgerState()
            raise
        self._require_own_key(self._state)

    def _read(self, first: int) -> Iterator[SealedEntry]:
        for expected, (number, sealed) in enumerate(read_entries(self._connection, first), start=first):
            if number != expected:
                raise DamageError(expected, "it is missing")
            yield sealed

    def _require_own_key(self, state: LedgerState) -> None:
        if self._identity is None or self._any_key or state.key == self._identity.public_key:
            return
        pin = key_pin(state.key) if state.key else ""
        signer = f"by the key of the pin {pin}" if pin else "by no key"
        raise StorageError(
            f"the privacy ledger {self.path} is signed {signer}, not by this site's {self._identity.pin}: "
            "if that was this site's key before it was replaced, run `sealora-site budget accept --signed-by "
            f"{pin or 'none'}`; otherwise put the site's own ledger back"
        )

    def _may_sign(self, state: LedgerState) -> bool:
        return self._any_key or state.key == (b"" if self._identity is None else self._identity.public_key)

    def _advance_head(self) -> None:
        # Under the write lock, so that heads are written in the order of the entries they tell of.
        with immediate(self._connection, self.path), self._naming_damage():
            self._catch_up()
            write_head(self.path, Head.of(self._state.number, self._state.hash, self._identity))

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            yield
        except DamageError as damage:
            remedy = damage.remedy or (
                f"move {self.path.name} and its -wal and -shm files away, leave {head_path(self.path).name} there and "
                "run `sealora-site budget restore` with the newest export, or put all of them back from one backup"
            )
            raise StorageError(
                f"the privacy ledger {self.path} is damaged at entry {damage.number}: {damage.why}; nothing can be "
                f"charged until that is mended: {remedy}"
            ) from None


def require_head(head: Head | None, state: LedgerState, *, missing_ok: bool = False) -> None:
    """Checks the head against the ledger's state: what it tells of must be there.

    A missing head is no alarm right after the entries that are written when there is none yet.

    Raises:
        DamageError: it is not.
    """
    if head is None:
        if missing_ok or isinstance(state.last, Begun | Accepted | Restored):
            return
        raise DamageError(
            state.number,
            "ledger.head is missing, so nothing tells whether this is the last one",
            "put it back from the same backup as the ledger, or compare the ledger with the newest export "
            "(`sealora-site budget accept --export FILE`), which makes a new one",
        )
    if head.number > state.number:
        raise DamageError(state.number + 1, f"it is missing, and ledger.head tells of {head.number}")
    if state.hashes[head.number - 1].hex() != head.hash or not head.is_signed_by(state.key_at(head.number)):
        raise DamageError(head.number, "it is not the one that ledger.head tells of, or that is not signed by the site")
