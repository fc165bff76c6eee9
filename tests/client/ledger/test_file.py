"""The file: whose it is, when it is on the disk, and what is done when it cannot be written."""

from __future__ import annotations

import math
import sqlite3
import subprocess
from pathlib import Path

import pytest

from sealora_client.ledger import Ledger, journal, store
from sealora_client.ledger.head import read_head
from sealora_common.errors import StorageError

from ledger_runs import SITE, charge, states, write_ledger


def test_only_the_owner_may_read_it(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        charge(ledger, 1)
        assert {file.suffix for file in path.parent.iterdir()} >= {".sqlite", ".head"}
        for file in path.parent.iterdir():
            assert file.stat().st_mode & 0o077 == 0


def test_commits_reach_the_disk_before_they_return(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        connection = ledger._journal._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_new_ledger_s_name_reaches_the_disk_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut, a file that no directory names would be a site that has spent nothing."""
    flushed: list[Path] = []
    monkeypatch.setattr(store, "sync_directory", flushed.append)
    store.open_store(path).close()
    assert flushed == [path.parent]


def test_nobody_else_writes_between_what_is_read_and_what_is_charged_for_it(path: Path) -> None:
    """Or two processes would both find room for the last round."""
    connection = store.open_store(path)
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    with store.immediate(connection, path), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
    connection.close()


@pytest.mark.parametrize("statement", ["UPDATE entries SET body = ''", "DELETE FROM entries", "DELETE FROM members"])
def test_the_table_takes_additions_only(path: Path, statement: str) -> None:
    write_ledger(path)
    with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
        sqlite3.connect(path).execute(statement)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all, but long enough to look at" * 40)
    with pytest.raises(StorageError, match="not a ledger"):
        Ledger(path, SITE)


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StorageError, match="something else"):
        Ledger(path, SITE)
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_schema").fetchall() == [("songs",)]


@pytest.mark.parametrize("version", [1, 99])
def test_a_ledger_of_another_version_is_refused(path: Path, version: int) -> None:
    Ledger(path, SITE).close()
    with sqlite3.connect(path) as later:
        later.execute(f"PRAGMA user_version={version}")
    with pytest.raises(StorageError, match=f"has version {version} where this Sealora reads version 4: use the"):
        Ledger(path, SITE)


def test_a_directory_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=str(tmp_path)):
        Ledger(tmp_path, SITE)


def test_a_writer_that_holds_the_ledger_too_long_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_BUSY_SECONDS", 0.1)
    with Ledger(path, SITE) as ledger, Ledger(path, SITE) as other:
        other._journal._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another process has held it"):
            charge(ledger, 1)
        other._journal._connection.execute("ROLLBACK")


def test_a_full_database_refuses_the_charge_in_one_sentence_and_writes_nothing_of_it(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        connection = ledger._journal._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 2}")
        made: list[int] = []

        def fill() -> None:
            while True:
                made.append(charge(ledger, len(made), run="long name " * 100, limit=math.inf).id)

        with pytest.raises(StorageError, match="the disk is full"):
            fill()
        assert [row.id for row in ledger.charges()] == made
        ledger.verify()
        connection.execute("PRAGMA max_page_count=100000")
        charge(ledger, 1001, limit=math.inf)  # and it works again once there is room
        ledger.verify()


def test_a_charge_that_fails_half_way_leaves_nothing_and_the_ledger_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with Ledger(path, SITE) as ledger:
        with monkeypatch.context() as broken:
            broken.setattr(journal, "write_members", fail)  # after the data set's entry, before the charge's
            with pytest.raises(StorageError, match="disk I/O error: check the disk"):
                charge(ledger, 1)
        assert ledger.datasets() == []
        assert charge(ledger, 1).id == 3
        ledger.verify()


@pytest.mark.parametrize("room", ["64k", "104k"])
def test_a_full_disk_never_loses_what_was_granted(tmp_path: Path, room: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    path = disk / "ledger.sqlite"
    granted: list[int] = []
    released: list[int] = []

    def fill() -> None:
        with Ledger(path, SITE) as ledger:
            for number in range(1000):
                granted.append(charge(ledger, number, limit=math.inf).id)
                ledger.mark_released(granted[-1])
                released.append(granted[-1])

    try:
        with pytest.raises(StorageError, match="the disk is full: free some space"):
            fill()
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        with Ledger(path, SITE) as ledger:
            rows = {row.id: row for row in ledger.charges()}
            assert set(granted) <= set(rows)
            assert all(rows[number].released for number in released)
            charge(ledger, 1001, limit=math.inf)
            ledger.verify()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_head_that_cannot_be_written_stops_no_release_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a crash between the commit and the head would: the charge is there, and no alarm is raised."""
    with Ledger(path, SITE) as ledger:
        first = charge(ledger, 1)

        def full(*arguments: object) -> None:
            raise StorageError("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(journal, "write_head", full)
            ledger.mark_released(first.id)
        head = read_head(path)
        assert head is not None
        assert head.number == 3
    with Ledger(path, SITE) as ledger:
        assert states(ledger) == ["released"]
        caught_up = read_head(path)
        assert caught_up is not None
        assert caught_up.number == 4
        ledger.verify()
