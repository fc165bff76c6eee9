"""Out as signed lines of JSON and back again; and what a person decides when head or key were lost."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from sealora_client.ledger import ChargeReference, Ledger, PaidRelease, recovery
from sealora_client.ledger.export import export_ledger, read_export
from sealora_client.ledger.head import head_path, read_head
from sealora_client.ledger.recovery import accept_ledger, restore_ledger
from sealora_client.ledger.store import files_of
from sealora_common.errors import BudgetError, StorageError

from ledger_runs import (
    DATA,
    DELTA,
    FORGER,
    SITE,
    bodies,
    charge,
    composed,
    copy_ledger,
    persons,
    records,
    tamper,
    write_ledger,
)

NINE = 9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_ledger(tmp_path / "site" / "ledger.sqlite")


@pytest.fixture
def export(path: Path, tmp_path: Path) -> Path:
    file = tmp_path / "export.jsonl"
    assert export_ledger(path, SITE, file) == NINE
    return file


def lose(path: Path, *, head: bool = False) -> None:
    for file in [*files_of(path), *([head_path(path)] if head else [])]:
        file.unlink(missing_ok=True)


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_lines(file: Path, content: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in content), encoding="utf-8")


def test_an_export_can_be_read_without_sqlite(path: Path, export: Path) -> None:
    *entries, last = lines(export)
    assert [line["entry"] for line in entries] == bodies(path)
    assert all(len(str(line["signature"])) == 4500 for line in entries)
    assert [number for number, line in enumerate(entries, start=1) if "members" in line] == [2, 7]
    assert last["export"]["entries"] == NINE
    assert last["export"]["hash"] == entries[-1]["hash"]


def test_only_its_owner_may_read_an_export(export: Path) -> None:
    assert export.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("head", [True, False], ids=["all lost", "the head still there"])
def test_a_restored_ledger_goes_on_where_the_lost_one_stood(path: Path, export: Path, head: bool) -> None:
    with Ledger(path, SITE) as ledger:
        rows, listed = ledger.charges(), ledger.datasets()
    lose(path, head=head)
    found = restore_ledger(export, path, SITE)
    assert found.entries == NINE + 1
    assert [mark.kind for mark in found.marks] == ["restore"]
    with Ledger(path, SITE) as ledger:
        # What was open in the export may have left since: it is spent, and stands there as uncertain.
        assert ledger.charges() == [replace(row, uncertain=row.is_open) for row in rows]
        assert ledger.datasets() == listed
        assert ledger.spent(DATA, DELTA) == pytest.approx(composed(3))
        assert ledger.spent(records("c", "new"), DELTA) == pytest.approx(composed(1))  # c is still known
        assert ledger.spent(records("new"), DELTA) == 0
        with pytest.raises(BudgetError):
            charge(ledger, 4, limit=composed(3))
        charge(ledger, 4)
        (row,) = [row for row in ledger.charges() if row.uncertain]
        uncertain = row.id
        reference = ChargeReference(id=row.id, hash=row.hash)
        assert not ledger.can_release(PaidRelease(charge=reference, content="ab" * 32))
        with pytest.raises(BudgetError, match="may have been released before the ledger was restored"):
            ledger.mark_released(uncertain, "ab" * 32)
        assert charge(ledger, 3, dataset=records("b", "c")).id > uncertain  # nor is its round taken up again
        ledger.verify()
    assert path.stat().st_mode & 0o077 == 0
    assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.head", "ledger.sqlite"]


def test_a_restored_ledger_can_be_exported_and_restored_again(path: Path, export: Path, tmp_path: Path) -> None:
    lose(path)
    restore_ledger(export, path, SITE)
    assert export_ledger(path, SITE, tmp_path / "again.jsonl") == NINE + 1
    lose(path)
    assert restore_ledger(tmp_path / "again.jsonl", path, SITE).entries == NINE + 2


def test_persons_are_known_after_restoring(tmp_path: Path) -> None:
    path, export = tmp_path / "ledger.sqlite", tmp_path / "export.jsonl"
    with Ledger(path, SITE) as ledger:
        charge(ledger, 1, dataset=persons(p1=["a"], p2=["b", "c"]))
    export_ledger(path, SITE, export)
    lose(path)
    restore_ledger(export, path, SITE)
    with Ledger(path, SITE) as ledger:
        assert ledger.spent(persons(p2=["z"]), DELTA) == pytest.approx(composed(1))
        with pytest.raises(BudgetError, match="cannot be composed"):
            ledger.spent(records("c"), DELTA)


# It never goes backwards


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_an_export_replaces_no_ledger_and_no_part_of_one(path: Path, export: Path, suffix: str) -> None:
    """A write-ahead log left behind would be played into the restored file."""
    lose(path)
    part = path.with_name(path.name + suffix)
    part.write_bytes(b"something")
    with pytest.raises(StorageError, match=f"{part.name} exists: an export never replaces a ledger"):
        restore_ledger(export, path, SITE)
    assert part.read_bytes() == b"something"


def test_an_export_older_than_the_head_is_refused(path: Path, export: Path) -> None:
    with Ledger(path, SITE) as ledger:
        charge(ledger, 4)
    lose(path)
    before = head_path(path).read_bytes()
    with pytest.raises(StorageError, match=f"has {NINE} entries, but .* tells of 10: to restore it would forget"):
        restore_ledger(export, path, SITE)
    assert not path.exists()
    assert head_path(path).read_bytes() == before


def test_an_export_of_another_ledger_is_refused(path: Path, export: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    with Ledger(other, SITE) as ledger:
        charge(ledger, 1)
    lose(other)
    with pytest.raises(StorageError, match=r"is not of the ledger that .*other.head tells of"):
        restore_ledger(export, other, SITE)


def test_a_crash_while_restoring_can_be_made_good(path: Path, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(path)

    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            restore_ledger(export, path, SITE)
    assert not path.exists()
    restore_ledger(export, path, SITE)
    lose(path, head=True)
    with monkeypatch.context() as broken:
        broken.setattr(recovery, "Journal", crash)  # moved into place, but no head yet
        with pytest.raises(KeyboardInterrupt):
            restore_ledger(export, path, SITE)
    with Ledger(path, SITE) as ledger:
        assert ledger.verify().entries == NINE + 1


# A damaged export


@pytest.mark.parametrize("place", range(NINE))
def test_an_edited_line_is_found(export: Path, place: int) -> None:
    content = lines(export)
    content[place]["entry"]["created"] = "2020"  # type: ignore[index]
    write_lines(export, content)
    with pytest.raises(StorageError, match=f"{export}, line {place + 1}: its hash does not fit"):
        read_export(export)


@pytest.mark.parametrize("place", range(NINE + 1))
def test_a_missing_line_is_found(export: Path, place: int) -> None:
    content = lines(export)
    del content[place]
    write_lines(export, content)
    with pytest.raises(StorageError, match=f"{export}, line "):
        read_export(export)


def test_an_export_cut_short_and_closed_again_without_the_key_is_found(export: Path) -> None:
    *entries, last = lines(export)
    entries = entries[:6]
    last["export"] |= {"entries": 6, "hash": entries[-1]["hash"]}  # type: ignore[operator]
    write_lines(export, [*entries, last])
    with pytest.raises(StorageError, match=f"{export}, line 7: does not close this export"):
        read_export(export)


@pytest.mark.parametrize("field", ["members", "records", "signature"])
def test_changed_members_or_signatures_are_found(export: Path, field: str) -> None:
    content = lines(export)
    content[1][field] = "AAAAAAAAAAA=" if field != "signature" else "00" * 64
    write_lines(export, content)
    with pytest.raises(StorageError, match=f"{export}, line 2: "):
        read_export(export)


@pytest.mark.parametrize("content", ["", "not JSON\n", "{}\n", "[]\n{}\n", '{"entry": {"a": NaN}}\n{}\n', "\xff\n"])
def test_a_file_that_is_no_export_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(StorageError, match=f"^{file}[:,] ?") as refused:
        restore_ledger(file, tmp_path / "ledger.sqlite", SITE)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        read_export(tmp_path / "none.jsonl")


def test_an_export_overwrites_nothing(path: Path, export: Path) -> None:
    before = export.read_bytes()
    with pytest.raises(StorageError, match="exists: an export replaces no file"):
        export_ledger(path, SITE, export)
    assert export.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    ["UPDATE members SET members = x'00' WHERE dataset = 7", "UPDATE entries SET signature = x'' WHERE number = 7"],
)
def test_a_damaged_ledger_is_not_exported(path: Path, tmp_path: Path, change: str) -> None:
    tamper(path, change)
    with pytest.raises(StorageError, match="damaged at entry 7"):
        export_ledger(path, SITE, tmp_path / "export.jsonl")
    assert not (tmp_path / "export.jsonl").exists()


# Another key


def test_an_export_signed_by_another_key_is_refused_unless_it_is_named(path: Path, export: Path) -> None:
    lose(path, head=True)
    with pytest.raises(StorageError, match=f"is signed by the key of the pin {SITE.pin}: .* add --signed-by"):
        restore_ledger(export, path, FORGER)
    with pytest.raises(StorageError, match="is signed by the key"):
        restore_ledger(export, path, FORGER, signed_by=b"")
    found = restore_ledger(export, path, FORGER, signed_by=SITE.pin)
    assert found.signed_by == FORGER.pin
    with Ledger(path, FORGER) as ledger:
        charge(ledger, 4)
        ledger.verify()
    with pytest.raises(StorageError, match="not by this site's"):
        Ledger(path, SITE)


def test_a_ledger_goes_on_under_a_new_key_that_a_person_vouches_for(path: Path) -> None:
    new = FORGER
    with pytest.raises(StorageError, match="not by this site's"):
        Ledger(path, new)
    for wrong in (None, "", new.pin):
        with pytest.raises(StorageError, match=f"signed by the key of the pin {SITE.pin}"):
            accept_ledger(path, new, signed_by=wrong)
    assert len(bodies(path)) == NINE
    found = accept_ledger(path, new, signed_by=SITE.pin)
    assert [(mark.kind, mark.number) for mark in found.marks] == [("accept", NINE + 1)]
    with Ledger(path, new) as ledger:
        assert ledger.spent(DATA, DELTA) == pytest.approx(composed(3))
        charge(ledger, 4)
        ledger.verify()
    with pytest.raises(StorageError, match="not by this site's"):
        Ledger(path, SITE)


def test_what_the_former_key_signed_is_still_checked_under_it(path: Path) -> None:
    accept_ledger(path, FORGER, signed_by=SITE.pin)
    tamper(path, "UPDATE entries SET signature = zeroblob(64) WHERE number = 4")
    with Ledger(path, FORGER) as ledger, pytest.raises(StorageError, match="damaged at entry 4"):
        ledger.verify()


def test_a_crash_before_the_head_is_signed_by_the_new_key_is_no_alarm(path: Path) -> None:
    before = head_path(path).read_bytes()
    accept_ledger(path, FORGER, signed_by=SITE.pin)
    head_path(path).write_bytes(before)
    with Ledger(path, FORGER) as ledger:
        ledger.verify()


def test_an_unsigned_ledger_is_signed_from_when_a_person_says_so(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.sqlite", None)
    with pytest.raises(StorageError, match="signed by no key"):
        accept_ledger(path, SITE)
    assert accept_ledger(path, SITE, signed_by="").signed_by == SITE.pin


# Another head


def test_a_lost_head_is_made_anew_when_a_person_says_so(path: Path) -> None:
    head_path(path).unlink()
    found = accept_ledger(path, SITE)
    assert [mark.reason for mark in found.marks if mark.kind == "accept"] == ["head lost"]
    head = read_head(path)
    assert head is not None
    assert head.number == NINE + 1


def test_a_lost_head_is_not_made_anew_for_a_ledger_that_lost_its_end(path: Path, export: Path) -> None:
    with sqlite3.connect(path):
        tamper(path, "DELETE FROM entries WHERE number > 6", "DELETE FROM members WHERE dataset = 7")
    with pytest.raises(StorageError, match="damaged at entry 7"):
        accept_ledger(path, SITE)
    head_path(path).unlink()
    with pytest.raises(StorageError, match=r"differs from .*export.jsonl .* from entry 7 on"):
        accept_ledger(path, SITE, export=export)
    assert len(bodies(path)) == 6


@pytest.mark.parametrize("change", ["body = replace(body, 'run-1', 'run-2')", "signature = zeroblob(64)"])
def test_a_damaged_ledger_cannot_be_accepted(path: Path, change: str) -> None:
    head_path(path).unlink()
    tamper(path, f"UPDATE entries SET {change} WHERE number = 3")  # noqa: S608
    with pytest.raises(StorageError, match="damaged at entry 3"):
        accept_ledger(path, SITE)
    assert len(bodies(path)) == NINE


def test_there_is_nothing_to_accept_in_a_whole_ledger_nor_without_one(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is nothing to accept"):
        accept_ledger(path, SITE)
    with pytest.raises(StorageError, match="there is no privacy ledger here yet"):
        accept_ledger(tmp_path / "elsewhere" / "ledger.sqlite", SITE)
    assert not (tmp_path / "elsewhere").exists()


def test_a_backup_of_both_files_is_a_ledger(path: Path, tmp_path: Path) -> None:
    with Ledger(copy_ledger(path, tmp_path / "backup" / "ledger.sqlite"), SITE) as ledger:
        ledger.verify()
