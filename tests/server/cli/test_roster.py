"""`sealora roster`, as the coordinator types it."""

from __future__ import annotations

import json
import re
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError, SealoraError, StorageError
from sealora_common.identity import PASSPHRASE_FILE, Identity
from sealora_common.identity.card import SiteCard, create_node_key
from sealora_common.roster import Cosignature, Roster
from sealora_server.cli import main

from coordinator import SERVER, Coordinator

NAMES = ("lyon", "berlin", "porto")


@pytest.fixture(scope="session")
def cards(tmp_path_factory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("cards")
    return {name: new_card(directory / f"{name}.card.json", name) for name in NAMES}


def new_card(path: Path, name: str, identity: Identity | None = None) -> Path:
    made = identity or Identity.create(name, SystemEntropy())
    path.write_text(SiteCard.create(made, create_node_key(path.with_suffix(".key"))).model_dump_json())
    return path


@pytest.fixture
def coordinator(tmp_path, monkeypatch) -> Coordinator:
    monkeypatch.delenv(PASSPHRASE_FILE, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    (tmp_path / "office").mkdir()
    return Coordinator(tmp_path / "office")


@pytest.fixture
def signed(coordinator, cards) -> Coordinator:
    """A coordinator who has signed a roster of three."""
    coordinator.creates()
    coordinator.adds(*cards.values())
    coordinator.signs()
    return coordinator


def test_create_makes_the_coordinator_s_key_for_its_owner_alone_and_an_empty_roster(coordinator):
    said = coordinator.creates()
    assert stat.S_IMODE(coordinator.key.stat().st_mode) == 0o600
    roster = Roster.load(coordinator.roster, draft=True)
    assert (roster.consortium, roster.members, roster.server) == ("Krebsregister Süd", (), SERVER.public_key_text)
    made = Identity.load("coordinator", coordinator.key)
    assert roster.coordinator == made.public_key_text
    assert f"Sites pin this coordinator key: {made.pin}\n" in said
    assert {made.fingerprint, SERVER.fingerprint} <= set(said.split())
    assert not roster.is_signed


def test_a_name_that_cannot_be_shown_makes_neither_key_nor_roster(coordinator):
    with pytest.raises(PolicyError, match="is no name for a consortium"):
        coordinator.types("create", coordinator.roster, "--consortium", "a\x1b[2J", "--key", coordinator.key)
    assert not coordinator.key.exists()
    assert not coordinator.roster.exists()


def test_create_takes_the_key_that_is_there(coordinator):
    coordinator.creates()
    before = coordinator.key.read_bytes()
    coordinator.roster.unlink()
    coordinator.creates()
    assert coordinator.key.read_bytes() == before


def test_create_overwrites_no_roster(signed):
    before = signed.roster.read_bytes()
    with pytest.raises(PolicyError, match="exists: add to it, or choose another file"):
        signed.creates()
    assert signed.roster.read_bytes() == before


@pytest.mark.parametrize("content", [None, "", "00", "ab" * 32, SERVER.public_key_text[:-8], SERVER.public_key.hex()])
def test_create_with_a_server_key_that_is_none_makes_nothing(coordinator, tmp_path, content):
    file = tmp_path / "other.pub"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StorageError, match=r"other.pub: (the public key cannot be read|no public key)"):
        coordinator.creates("--server", file)
    assert list(coordinator.directory.iterdir()) == []


def test_a_locked_coordinator_s_key_signs_with_its_passphrase_alone(coordinator, cards, monkeypatch):
    coordinator.creates("--lock", typed="hunter2\nhunter2\n")
    coordinator.adds(*cards.values())
    assert b"ENCRYPTED" in coordinator.key.read_bytes()
    with pytest.raises(StorageError, match=f"name a file that holds it in {PASSPHRASE_FILE}"):
        coordinator.signs()
    assert not Roster.load(coordinator.roster, draft=True).is_signed
    (coordinator.directory / "passphrase").write_text("hunter2\n")
    monkeypatch.setenv(PASSPHRASE_FILE, str(coordinator.directory / "passphrase"))
    coordinator.signs()
    assert Roster.load(coordinator.roster).is_signed


def test_added_sites_stand_in_order_with_their_keys(signed, cards):
    roster = Roster.load(signed.roster)
    assert roster.names == ("berlin", "lyon", "porto")
    for member in roster.members:
        card = SiteCard.load(cards[member.name])
        assert (member.public_key, member.node_key) == (card.public_key, card.node_key)


def test_a_site_added_again_gets_its_new_keys(signed):
    again = new_card(signed.directory / "again.card.json", "lyon")
    signed.adds(again)
    roster = Roster.load(signed.roster, draft=True)
    assert roster.names == ("berlin", "lyon", "porto")
    assert roster.members[1].public_key == SiteCard.load(again).public_key
    assert not roster.is_signed


def test_one_key_under_two_names_is_refused(signed):
    identity = Identity.create("x", SystemEntropy())
    first = new_card(signed.directory / "1.card.json", "a", Identity("a", identity._private))
    second = new_card(signed.directory / "2.card.json", "b", Identity("b", identity._private))
    before = signed.roster.read_bytes()
    with pytest.raises(PolicyError, match="the key of 'b', or a part of it, is another member's already"):
        signed.adds(first, second)
    assert signed.roster.read_bytes() == before


def test_a_forged_card_is_refused_and_the_roster_left_as_it_was(signed, cards):
    value = json.loads(cards["lyon"].read_text())
    forged = signed.directory / "forged.card.json"
    forged.write_text(json.dumps({**value, "name": "berlin"}))
    before = signed.roster.read_bytes()
    with pytest.raises(PolicyError, match="the card is not signed by its own key"):
        signed.adds(cards["lyon"], forged)
    assert signed.roster.read_bytes() == before


CHANGES = {
    "add": lambda signed: signed.adds(new_card(signed.directory / "new.card.json", "new")),
    "remove": lambda signed: signed.types("remove", signed.roster, "porto"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_roster_must_be_signed_again(signed, change):
    before = Roster.load(signed.roster).fingerprint
    assert "to be signed" in CHANGES[change](signed)
    with pytest.raises(PolicyError, match="signature does not hold: do not use this roster"):
        Roster.load(signed.roster)
    said = signed.signs()
    roster = Roster.load(signed.roster, coordinator=Roster.load(signed.roster).coordinator_pin)
    assert roster.fingerprint in said
    assert roster.fingerprint != before


def test_a_removed_site_is_gone_and_none_other(signed):
    before = Roster.load(signed.roster)
    signed.types("remove", signed.roster, "lyon")
    signed.signs()
    after = Roster.load(signed.roster)
    assert after.members == (before.members[0], before.members[2])
    assert (after.consortium, after.coordinator, after.server) == (
        before.consortium,
        before.coordinator,
        SERVER.public_key_text,
    )


def test_a_site_that_is_not_on_it_cannot_be_removed(signed):
    before = signed.roster.read_bytes()
    with pytest.raises(PolicyError, match="site 'oslo' is not on the roster"):
        signed.types("remove", signed.roster, "oslo")
    assert signed.roster.read_bytes() == before


def test_another_coordinator_cannot_sign_it(signed):
    other = signed.directory / "other.pem"
    Identity.create("coordinator", SystemEntropy()).save(other)
    before = signed.roster.read_bytes()
    with pytest.raises(PolicyError, match="this key is not the roster's coordinator's"):
        signed.signs(other)
    assert signed.roster.read_bytes() == before


@pytest.mark.parametrize("exposed", [0o640, 0o604])
def test_a_coordinator_s_key_that_others_can_read_signs_nothing(signed, exposed):
    signed.key.chmod(exposed)
    with pytest.raises(StorageError, match="others can read this private key"):
        signed.signs()


def test_show_names_members_fingerprints_and_whether_the_signature_holds(signed):
    roster = Roster.load(signed.roster)
    code, said = signed.shows()
    assert code == 0
    for each in (
        *NAMES,
        *(member.fingerprint for member in roster.members),
        roster.fingerprint,
        SERVER.fingerprint,
        Identity.load("coordinator", signed.key).fingerprint,
        roster.coordinator_pin,
        roster.consortium,
        roster.expires,
    ):
        assert each in said
    assert re.search(r"signature +holds", said)


@pytest.mark.parametrize("change", ["never signed", "edited", "key swapped"])
def test_show_says_of_an_unsigned_or_edited_roster_that_it_is_and_fails(signed, change):
    value = json.loads(signed.roster.read_text())
    if change == "never signed":
        del value["signature"]
        del value["expires"]
    elif change == "edited":
        value["members"].pop()
    else:
        value["members"][0]["public_key"] = SERVER.public_key_text
    signed.roster.write_text(json.dumps(value))
    code, said = signed.shows()
    assert code == 1
    assert re.search(r"signature +" + ("MISSING: sign it" if change == "never signed" else "FALSE: the file was"), said)


@pytest.mark.parametrize("command", ["add", "remove", "sign"])
def test_a_roster_that_was_edited_is_neither_changed_nor_signed(signed, cards, command):
    """Its number is taken: to sign it would show two faces."""
    value = json.loads(signed.roster.read_text())
    value["members"].pop()
    signed.roster.write_text(json.dumps(value))
    before = signed.roster.read_bytes()
    with pytest.raises(PolicyError, match="was changed after it was signed, so nothing can follow it: put the signed"):
        {
            "add": lambda: signed.adds(*cards.values()),
            "remove": lambda: signed.types("remove", signed.roster, "lyon"),
            "sign": signed.signs,
        }[command]()
    assert signed.roster.read_bytes() == before


def test_each_signing_is_the_next_number_and_names_the_one_before(signed):
    first = Roster.load(signed.roster)
    signed.types("remove", signed.roster, "lyon")
    assert "signed as number 2, until" in signed.signs()
    second = Roster.load(signed.roster)
    assert "signed as number 3, until" in signed.signs()
    third = Roster.load(signed.roster)
    assert [each.sequence for each in (first, second, third)] == [1, 2, 3]
    assert (second.previous, third.previous) == (first.hash.hex(), second.hash.hex())
    assert third.members == second.members


def test_several_changes_before_a_signing_are_one_number(signed, cards):
    signed.types("remove", signed.roster, "lyon")
    signed.adds(cards["lyon"])
    signed.types("remove", signed.roster, "porto")
    signed.signs()
    assert Roster.load(signed.roster).sequence == 2


@pytest.mark.parametrize(("options", "days"), [((), 365), (("--days", "30"), 30)])
def test_a_signed_roster_lasts_as_long_as_its_coordinator_says(signed, options, days):
    signed.signs(None, *options)
    roster = Roster.load(signed.roster)
    now = datetime.now(UTC)
    assert not roster.has_expired(now + timedelta(days=days, minutes=-5))
    assert roster.has_expired(now + timedelta(days=days, minutes=5))


def test_show_says_of_an_expired_roster_that_it_is_and_fails(signed):
    roster, key = Roster.load(signed.roster), Identity.load("coordinator", signed.key)
    roster.signed(key, at=datetime(2020, 1, 1, tzinfo=UTC)).save(signed.roster)
    code, said = signed.shows()
    assert code == 1
    assert "2020-12-31T00:00:00Z EXPIRED: sign it" in said


def test_add_and_show_give_the_fingerprint_that_the_site_was_shown(coordinator, cards):
    coordinator.creates()
    said = coordinator.adds(*cards.values())
    for name, path in cards.items():
        assert f"{SiteCard.load(path).fingerprint}  {name}: compare it" in said


@pytest.fixture
def cosigned(coordinator, tmp_path) -> tuple[Coordinator, dict[str, Path]]:
    """A signed roster, and the co-signatures of its members, not merged yet."""
    sites = {name: Identity.create(name, SystemEntropy()) for name in NAMES}
    coordinator.creates()
    coordinator.adds(*(new_card(tmp_path / f"{name}.card.json", name, site) for name, site in sites.items()))
    coordinator.signs()
    roster = Roster.load(coordinator.roster)
    files = {name: tmp_path / f"{name}.cosignature.json" for name in NAMES}
    for name, path in files.items():
        Cosignature.create(sites[name], roster.sequence, roster.hash).save(path)
    return coordinator, files


def test_co_signatures_are_merged_and_shown(cosigned):
    coordinator, files = cosigned
    before = Roster.load(coordinator.roster)
    said = coordinator.types("add-cosignature", coordinator.roster, files["lyon"], files["berlin"])
    assert "co-signed by berlin, lyon" in said
    after = Roster.load(coordinator.roster)
    assert (after.hash, after.cosigners) == (before.hash, ("berlin", "lyon"))
    code, shown = coordinator.shows()
    assert code == 0
    marks = {name: next(line for line in shown.splitlines() if name in line).count("yes") for name in NAMES}
    assert marks == {"berlin": 2, "lyon": 2, "porto": 1}  # the other yes is the node key's


def test_a_co_signature_of_the_roster_before_is_not_merged(cosigned):
    coordinator, files = cosigned
    coordinator.signs()
    before = coordinator.roster.read_bytes()
    with pytest.raises(PolicyError, match="the co-signature of 'lyon' is of another roster"):
        coordinator.types("add-cosignature", coordinator.roster, files["lyon"])
    assert coordinator.roster.read_bytes() == before


def test_the_fingerprint_can_be_read_out(signed):
    """100 bits of the hash in four groups of five letters and digits of RFC 4648's base 32."""
    roster = Roster.load(signed.roster)
    assert re.fullmatch(r"[A-Z2-7]{5}(-[A-Z2-7]{5}){3}", roster.fingerprint)
    value = 0
    for letter in roster.fingerprint.replace("-", ""):
        value = value * 32 + "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".index(letter)
    assert value == int.from_bytes(roster.hash, "big") >> (256 - 100)


@pytest.mark.parametrize("command", ["add", "remove", "sign", "show"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff"])
def test_a_roster_that_is_missing_or_none_ends_in_one_sentence_and_exit_code_1(
    coordinator, cards, monkeypatch, capsys, command, content
):
    if content is not None:
        coordinator.roster.write_bytes(content)
    more = {"add": [str(cards["lyon"])], "remove": ["lyon"]}.get(command, [])
    monkeypatch.setattr(sys, "argv", ["sealora", "roster", command, str(coordinator.roster), *more])
    with pytest.raises(SystemExit) as left:
        main()
    captured = capsys.readouterr()
    assert left.value.code == 1
    assert captured.err.startswith(f"Error: {coordinator.roster}: ")
    assert captured.err.count("\n") == 1


def test_no_error_of_a_command_is_anything_but_a_sentence(coordinator, tmp_path):
    """A key file that is a directory, a roster in a file's place."""
    (tmp_path / "file").write_text("")
    for words in (
        ["create", tmp_path / "file" / "roster.json", "--consortium", "c", "--key", tmp_path / "key.pem"],
        ["create", tmp_path / "new.json", "--consortium", "c", "--key", tmp_path],
    ):
        with pytest.raises(SealoraError) as caught:
            coordinator.types(*words)
        assert "\n" not in str(caught.value)
