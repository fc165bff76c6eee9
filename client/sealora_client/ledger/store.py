"""The ledger's SQLite file: opening it durably, its schema, and what its failures mean to a person.

Entries lie in a table that refuses to change or delete rows, which keeps accidents out; what keeps forgers out is
their hashes and signatures (`entries`). The members of data sets lie beside them, bound by a digest in the entry.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealora_client.ledger.entries import SealedEntry
from sealora_common.errors import StorageError, storage_error
from sealora_common.storage.own_files import directory_for, open_own, sync_directory

LEDGER = "ledger.sqlite"
"""Name of the file in a site's directory."""
SCHEMA_VERSION = 4
_READ_AS_THEY_ARE = (2, 3)
"""The versions before: their tables are the same, and their entries are among those of today."""
_APPLICATION_ID = 0x5EA10A01  # marks the file as a Sealora ledger, for `file` and for us
_BUSY_SECONDS = 30.0

_SCHEMA = (
    """
    CREATE TABLE entries (
        number INTEGER PRIMARY KEY,
        body TEXT NOT NULL,
        hash BLOB NOT NULL,
        signature BLOB NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE members (
        dataset INTEGER PRIMARY KEY REFERENCES entries (number),
        members BLOB NOT NULL,
        records BLOB NOT NULL
    ) STRICT
    """,
    *(
        f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is only ever added to'); END"
        for table in ("entries", "members")
        for event in ("UPDATE", "DELETE")
    ),
)


def open_store(path: Path) -> sqlite3.Connection:
    """Opens the ledger at `path`, creating it (readable by its owner alone) if it is missing.

    Every commit reaches the disk before it returns (WAL with synchronous=FULL), and writers of several processes
    take turns.

    Raises:
        StorageError: the file cannot be opened or made, or is not a ledger this version understands.
    """
    try:
        directory_for(path)
        os.close(open_own(path, os.O_RDWR))
    except OSError as error:
        raise storage_error(path, error) from error
    with storage_failures(path):
        # One connection serves whichever thread the site is asked from; the ledger's own lock keeps them apart.
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous=FULL")
            _agree_on_schema(connection, path)
        except BaseException:
            connection.close()
            raise
    sync_directory(path.parent)
    return connection


def files_of(path: Path) -> list[Path]:
    """Every file that may belong to the database at `path`: itself and SQLite's journals."""
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal"))]


def read_entries(connection: sqlite3.Connection, first: int) -> Iterator[tuple[int, SealedEntry]]:
    """The entries numbered `first` and above with their numbers, in order, as they lie there."""
    cursor = connection.execute(
        # As bytes: what is no UTF-8 any more is damage to be named, not an error of SQLite's.
        "SELECT number, CAST(body AS BLOB), hash, signature FROM entries WHERE number >= ? ORDER BY number",
        (first,),
    )
    for number, body, link, signature in cursor:
        yield number, SealedEntry(body, link, signature)


def write_entry(connection: sqlite3.Connection, number: int, sealed: SealedEntry) -> None:
    """Adds one entry to the transaction."""
    connection.execute(
        "INSERT INTO entries (number, body, hash, signature) VALUES (?, ?, ?, ?)",
        (number, sealed.body.decode(), sealed.hash, sealed.signature),
    )


def read_members(connection: sqlite3.Connection, dataset: int) -> tuple[bytes, bytes] | None:
    """The members and records of the data set with this entry number; None if they are not there."""
    row = connection.execute("SELECT members, records FROM members WHERE dataset = ?", (dataset,)).fetchone()
    return None if row is None else (row[0], row[1])


def write_members(connection: sqlite3.Connection, dataset: int, members: bytes, records: bytes) -> None:
    """Adds the members of one data set to the transaction."""
    connection.execute("INSERT INTO members (dataset, members, records) VALUES (?, ?, ?)", (dataset, members, records))


@contextmanager
def immediate(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """One transaction that holds the write lock from its start: no other process writes between read and write.

    Raises:
        StorageError: the lock could not be had or the commit did not reach the disk; nothing was written.
    """
    with storage_failures(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def storage_failures(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into one sentence about the ledger at `path`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        remedies = {
            sqlite3.SQLITE_FULL: "the disk is full: free some space",
            sqlite3.SQLITE_BUSY: f"another process has held it for {_BUSY_SECONDS:.0f} seconds: stop that process",
            sqlite3.SQLITE_READONLY: "it may not be written: give this account the right to write it",
            sqlite3.SQLITE_CANTOPEN: "it cannot be opened: give this account the right to write its directory",
            sqlite3.SQLITE_NOTADB: "it is not a ledger: name another file, or restore it from a backup",
            sqlite3.SQLITE_CORRUPT: "it is damaged: restore it from a backup (a new one would not know what is spent)",
        }
        why = remedies.get(code, f"{error}: check the disk")
        raise StorageError(f"cannot use the privacy ledger {path}: {why}, then run the same command again") from error


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Switching a new file's journal needs it to itself for a moment, and SQLite does not wait for that by its
    # busy timeout: two sites' processes that create the ledger together would otherwise fail.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _agree_on_schema(connection: sqlite3.Connection, path: Path) -> None:
    def number(pragma: str) -> int:
        return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    if number("user_version") == 0:
        with immediate(connection, path):
            # Read again under the lock: another process may have made the tables in the meantime.
            if number("user_version") == 0:
                if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    raise StorageError(f"{path} is a database of something else: name another file for the ledger")
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    if number("application_id") != _APPLICATION_ID:
        raise StorageError(f"{path} is a database of something else: name another file for the ledger")
    if number("user_version") in _READ_AS_THEY_ARE:
        with immediate(connection, path):
            # From now on it may get entries that the version before cannot read, and would call damaged.
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    if (version := number("user_version")) != SCHEMA_VERSION:
        raise StorageError(
            f"the privacy ledger {path} has version {version} where this Sealora reads version {SCHEMA_VERSION}: "
            "use the Sealora release that wrote it, or a newer one"
        )
