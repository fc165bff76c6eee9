"""A ledger that was changed, cut, rolled back or forged is found out, named, and not charged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from sealora_client.ledger import Ledger
from sealora_client.ledger.entries import GENESIS, SealedEntry, link_hash
from sealora_client.ledger.export import export_ledger
from sealora_client.ledger.head import Head, head_path, read_head, write_head
from sealora_client.ledger.recovery import verify_against
from sealora_common.canonical import canonical_json
from sealora_common.errors import StorageError
from sealora_common.identity import Identity, signature_to_text

from ledger_runs import DATA, DELTA, FORGER, SITE, bodies, charge, copy_ledger, records, tamper, write_ledger

LAST = 9


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ledger(tmp_path_factory.mktemp("whole") / "ledger.sqlite")


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return copy_ledger(whole, tmp_path / "ledger.sqlite")


def refusal(path: Path, identity: Identity | None = SITE) -> str:
    """The one sentence that opening the ledger ends in."""
    with pytest.raises(StorageError) as refused:
        Ledger(path, identity)
    said = str(refused.value)
    assert "\n" not in said
    return said


def assert_damaged(path: Path, entry: int, identity: Identity | None = SITE) -> None:
    said = refusal(path, identity)
    assert f"the privacy ledger {path} is damaged at entry {entry}: " in said
    assert "nothing can be charged until that is mended: " in said
    assert "sealora-site budget" in said


def forge(path: Path, change: Callable[[list[dict[str, object]]], None], identity: Identity | None) -> None:
    """Rewrites the whole ledger as one could who knows how it is made and has this key, head and all."""
    fields = bodies(path)
    change(fields)
    tamper(path, "DELETE FROM entries")
    connection = sqlite3.connect(path)
    previous = GENESIS
    for number, entry in enumerate(fields, start=1):
        body = canonical_json(entry)
        link = link_hash(previous, body)
        signature = identity.sign(b"sealora ledger signature v2\n" + link) if identity else b""
        connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (number, body.decode(), link, signature))
        previous = link
    connection.commit()
    connection.close()
    write_head(path, Head.of(len(fields), previous, identity))


def test_a_whole_ledger_verifies(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        found = ledger.verify()
        assert (found.entries, found.signed_by, found.marks) == (LAST, SITE.pin, ())
        charge(ledger, 4)
        assert ledger.verify().entries == LAST + 1


CHANGES = {
    "number": 4,
    "created": "2020-01-01T00:00:00.000+00:00",
    "kind": "release",
    "dataset": 7,
    "run": "run-2",
    "round_number": 7,
    "noise_multiplier": 1.5,
    "sample_rate": 0.01,
    "steps": 1,
    "noise": "skellam",
    "units": 1,
    "delta": 1e-6,
    "epsilon_limit": 80.0,
    "run_epsilon_limit": 8.0,
    "planned": 3,
    "insecure": True,
}


def test_every_field_of_a_charge_is_tried_below(path: Path) -> None:
    assert set(CHANGES) == set(bodies(path)[2])


@pytest.mark.parametrize("field", CHANGES)
def test_an_edited_field_is_found(path: Path, field: str) -> None:
    entry = bodies(path)[2]
    assert entry[field] != CHANGES[field]
    tamper(
        path, "UPDATE entries SET body = ? WHERE number = 3", parameters=(json.dumps(entry | {field: CHANGES[field]}),)
    )
    assert_damaged(path, 3)


@pytest.mark.parametrize("number", range(1, LAST + 1))
@pytest.mark.parametrize("edit", ["body = body || ' '", "hash = CAST(hash || ' ' AS BLOB)"])
def test_an_edit_anywhere_is_found(path: Path, number: int, edit: str) -> None:
    tamper(path, f"UPDATE entries SET {edit} WHERE number = ?", parameters=(number,))  # noqa: S608
    assert_damaged(path, number)


def test_bytes_that_are_no_text_are_named_damage(path: Path) -> None:
    tamper(path, "UPDATE entries SET body = CAST(x'ff80' AS TEXT) WHERE number = 5")
    assert_damaged(path, 5)


@pytest.mark.parametrize("number", range(1, LAST + 1))
def test_a_deleted_row_is_found(path: Path, number: int) -> None:
    tamper(path, "DELETE FROM entries WHERE number = ?", parameters=(number,))
    assert_damaged(path, number)


def test_a_deleted_row_is_found_though_the_others_move_up(path: Path) -> None:
    tamper(
        path,
        "DELETE FROM entries WHERE number = 5",
        "UPDATE entries SET number = -(number - 1) WHERE number > 5",
        "UPDATE entries SET number = -number WHERE number < 0",
    )
    assert_damaged(path, 5)


def test_a_row_under_another_number_is_found(path: Path) -> None:
    tamper(path, "UPDATE entries SET number = 12 WHERE number = 9")
    assert_damaged(path, 9)


def test_swapped_rows_are_found(path: Path) -> None:
    tamper(
        path,
        "UPDATE entries SET number = -3 WHERE number = 3",
        "UPDATE entries SET number = 3 WHERE number = 5",
        "UPDATE entries SET number = 5 WHERE number = -3",
    )
    assert_damaged(path, 3)


def test_a_row_put_in_is_found(path: Path) -> None:
    row = sqlite3.connect(path).execute("SELECT body, hash, signature FROM entries WHERE number = 9").fetchone()
    tamper(path, "INSERT INTO entries VALUES (10, ?, ?, ?)", parameters=row)
    assert_damaged(path, 10)


@pytest.mark.parametrize("left", range(LAST))
def test_a_cut_off_end_is_found(path: Path, left: int) -> None:
    tamper(path, "DELETE FROM entries WHERE number > ?", parameters=(left,))
    assert_damaged(path, left + 1)


def test_a_missing_file_is_found(path: Path) -> None:
    path.unlink()
    assert "the privacy ledger is missing, and ledger.head tells of 9 entries" in refusal(path)
    assert not path.exists()


def test_an_emptied_file_is_found(path: Path) -> None:
    path.write_bytes(b"")
    assert_damaged(path, 1)


def test_a_signature_that_is_not_the_site_s_is_found(path: Path) -> None:
    tamper(path, "UPDATE entries SET signature = zeroblob(64) WHERE number = ?", parameters=(LAST,))
    assert_damaged(path, LAST)


def test_a_missing_signature_in_the_middle_is_found_by_a_whole_check(path: Path) -> None:
    """It vouches for nothing that later signatures do not, so opening does not look at it."""
    tamper(path, "UPDATE entries SET signature = x'' WHERE number = 4")
    with Ledger(path, SITE) as ledger, pytest.raises(StorageError, match="damaged at entry 4: it is not signed by"):
        ledger.verify()


# Whoever knows how a ledger is made, but has not the site's key


def cheaper(fields: list[dict[str, object]]) -> None:
    fields[2]["noise_multiplier"] = 100.0


def test_a_chain_recomputed_without_a_key_is_found(path: Path) -> None:
    forge(path, cheaper, None)
    assert_damaged(path, LAST)


def test_a_chain_recomputed_with_another_key_is_found(path: Path) -> None:
    forge(path, cheaper, FORGER)
    assert_damaged(path, LAST)


@pytest.mark.parametrize("key", [FORGER, None])
def test_a_ledger_that_names_the_forger_s_key_or_none_is_not_this_site_s(path: Path, key: Identity | None) -> None:
    def own(fields: list[dict[str, object]]) -> None:
        cheaper(fields)
        fields[0]["public_key"] = key.public_key_text if key else ""

    forge(path, own, key)
    said = refusal(path)
    signer = f"by the key of the pin {FORGER.pin}" if key else "by no key"
    assert f"is signed {signer}, not by this site's {SITE.pin}" in said
    assert f"sealora-site budget accept --signed-by {FORGER.pin if key else 'none'}" in said


def test_a_cut_end_with_a_head_made_of_what_lies_in_the_ledger_is_found(path: Path) -> None:
    (link, signature) = sqlite3.connect(path).execute("SELECT hash, signature FROM entries WHERE number = 4").fetchone()
    tamper(path, "DELETE FROM entries WHERE number > 4")
    write_head(path, Head(number=4, hash=link.hex(), signature=signature_to_text(signature)))
    assert_damaged(path, 4)


@pytest.mark.parametrize(
    "change", [{"number": 5}, {"hash": "00" * 32}, {"signature": ""}, {"signature": signature_to_text(bytes(3373))}]
)
def test_a_changed_head_is_found(path: Path, change: dict[str, object]) -> None:
    head = read_head(path)
    assert head is not None
    write_head(path, head.model_copy(update=change))
    assert_damaged(path, 5 if "number" in change else LAST)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"number": 0}', b"\xff"])
def test_a_head_that_is_none_is_named(path: Path, content: bytes) -> None:
    head_path(path).write_bytes(content)
    assert f"{head_path(path)}: cannot be read" in refusal(path)


def test_a_removed_head_is_found(path: Path) -> None:
    head_path(path).unlink()
    assert_damaged(path, LAST)
    assert "ledger.head is missing" in refusal(path)


def test_a_head_that_was_never_written_is_no_alarm(tmp_path: Path) -> None:
    """A crash between the first entry and the first head."""
    path = tmp_path / "ledger.sqlite"
    Ledger(path, SITE).close()
    head_path(path).unlink()
    with Ledger(path, SITE) as ledger:
        charge(ledger, 1)
        ledger.verify()


def test_a_head_that_fell_behind_is_no_alarm_and_is_caught_up(path: Path) -> None:
    before = head_path(path).read_bytes()
    with Ledger(path, SITE) as ledger:
        charge(ledger, 4)
    head_path(path).write_bytes(before)
    with Ledger(path, SITE):
        head = read_head(path)
    assert head is not None
    assert head.number == LAST + 1
    tamper(path, "DELETE FROM entries WHERE number > ?", parameters=(LAST,))
    assert_damaged(path, LAST + 1)


def test_ledger_and_head_rolled_back_together_are_found_by_an_export_kept_elsewhere(path: Path, tmp_path: Path) -> None:
    earlier = copy_ledger(path, tmp_path / "earlier" / "ledger.sqlite")
    with Ledger(path, SITE) as ledger:
        charge(ledger, 4)
    export = tmp_path / "export.jsonl"
    export_ledger(path, SITE, export)
    verify_against(export, path, SITE)
    with pytest.raises(StorageError, match=rf"differs from {export} .* from entry {LAST + 1} on: it was put back"):
        verify_against(export, earlier, SITE)
    Ledger(earlier, SITE).close()  # by itself it cannot know


# Members


@pytest.mark.parametrize("number", [2, 7])
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM members WHERE dataset = {}",
        "UPDATE members SET members = x'0000000000000000' WHERE dataset = {}",
        "UPDATE members SET records = members WHERE dataset = {}",
    ],
)
def test_changed_members_are_found_and_no_other_data_is_charged_meanwhile(
    path: Path, number: int, statement: str
) -> None:
    tamper(path, statement.format(number))
    with Ledger(path, SITE) as ledger:
        for ask in (ledger.verify, lambda: charge(ledger, 4, dataset=records("y", "z"))):
            with pytest.raises(StorageError, match=f"damaged at entry {number}: the list of its data set's members"):
                ask()
        assert len(bodies(path)) == LAST


def test_another_member_key_is_found(path: Path) -> None:
    """Under another key nobody would be recognised, and every data set would start afresh."""

    def swap(fields: list[dict[str, object]]) -> None:
        fields[0]["member_key"] = "00" * 32

    forge(path, swap, FORGER)
    assert_damaged(path, LAST)


# While it is in use


def test_a_ledger_cut_while_it_is_open_takes_no_further_charge(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        tamper(path, "DELETE FROM entries WHERE number = 9")
        with pytest.raises(StorageError, match="damaged at entry 9: it was removed or changed while"):
            charge(ledger, 4)
        assert len(bodies(path)) == LAST - 1


def test_a_forged_entry_added_while_it_is_open_is_found(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        previous = sqlite3.connect(path).execute("SELECT hash FROM entries WHERE number = 9").fetchone()[0]
        body = canonical_json({"kind": "settle", "number": 10, "created": "2030", "charge": 8})
        forged = SealedEntry(body, link_hash(previous, body), FORGER.sign(b"anything"))
        tamper(
            path, "INSERT INTO entries VALUES (10, ?, ?, ?)", parameters=(body.decode(), forged.hash, forged.signature)
        )
        with pytest.raises(StorageError, match="damaged at entry 10: it is not signed by the site's key"):
            ledger.mark_released(8)


# Entries that make no sense, though chained and signed


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (4, {"charge": 5}),
        (4, {"charge": 2}),
        (6, {"charge": 3}),
        (3, {"dataset": 9}),
        (3, {"noise": "skellam"}),
        (3, {"sample_rate": 2.0}),
        (7, {"overlaps": [3]}),
        (7, {"fingerprint": DATA.fingerprint}),
        (4, {"kind": "begin"}),
        (4, {"surplus": 1}),
        (4, {"number": 5}),
    ],
)
def test_entries_that_do_not_follow_are_found(path: Path, place: int, change: dict[str, object]) -> None:
    forge(path, lambda fields: fields[place - 1].update(change), SITE)
    assert_damaged(path, place)


# Without an identity


def test_without_an_identity_a_signed_ledger_can_be_read_and_checked_but_not_added_to(path: Path) -> None:
    with Ledger(path) as ledger:
        assert len(ledger.charges()) == 3
        ledger.verify()
        assert ledger.spent(DATA, DELTA) > 0
        for add in (lambda: charge(ledger, 4), lambda: charge(ledger, 3), lambda: ledger.mark_released(8)):
            with pytest.raises(StorageError, match="is signed: it takes the site's identity to add to it"):
                add()
    assert len(bodies(path)) == LAST


def test_a_ledger_without_signatures_is_checked_all_the_same(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.sqlite", None)
    with Ledger(path) as ledger:
        assert ledger.verify().signed_by == ""
    tamper(path, "UPDATE entries SET body = replace(body, 'run-1', 'run-2') WHERE number = 3")
    assert_damaged(path, 3, None)
