"""`sealora roster`, as the coordinator types it."""

from __future__ import annotations

import json
import re
import stat
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealora_common.card import SiteCard, create_node_key
from sealora_common.entropy import SeededEntropy, SystemEntropy
from sealora_common.errors import PolicyError, SealoraError, StorageError
from sealora_common.identity import PASSPHRASE_FILE, Identity
from sealora_common.roster import Roster
from sealora_server.cli import cli, main

NAMES = ("lyon", "berlin", "porto")
SERVER = Identity.create("server", SeededEntropy("server")).public_key_text


class Coordinator:
    """A coordinator's directory; methods are commands typed there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.roster = directory / "roster.json"
        self.key = directory / "coordinator.pem"

    def types(self, *words: str | Path, typed: str = "") -> str:
        """`sealora roster ...`; raises what the command raised, returns what it said."""
        result = CliRunner().invoke(cli, ["roster", *map(str, words)], input=typed)
        if result.exception is not None:
            raise result.exception
        return result.output

    def creates(self, *options: str, typed: str = "") -> str:
        words = ["--consortium", "Krebsregister Süd", "--server", SERVER, "--key", self.key]
        return self.types("create", self.roster, *words, *options, typed=typed)

    def adds(self, *cards: Path) -> str:
        return self.types("add", self.roster, *cards)

    def signs(self, key: Path | None = None) -> str:
        return self.types("sign", self.roster, "--key", key or self.key)

    def shows(self) -> tuple[int, str]:
        """`show`: its exit code and what it said."""
        result = CliRunner().invoke(cli, ["roster", "show", str(self.roster)], terminal_width=200)
        return result.exit_code, result.output


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
    monkeypatch.setenv("COLUMNS", "200")
    return Coordinator(tmp_path)


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
    assert (roster.consortium, roster.members, roster.server) == ("Krebsregister Süd", (), SERVER)
    assert roster.coordinator == Identity.load("coordinator", coordinator.key).public_key_text
    assert roster.coordinator in said  # what the sites pin
    assert not roster.is_signed


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


@pytest.mark.parametrize("server", ["", "00", "z" * 64, "A" * 64, "a" * 63 + "\n"])
def test_create_with_a_server_key_that_is_none_makes_nothing(coordinator, server):
    with pytest.raises(PolicyError, match=r"--server: .* is no Ed25519 public key"):
        coordinator.creates("--server", server)
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
    with pytest.raises(PolicyError, match="the key of 'b' is another member's already"):
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
    roster = Roster.load(signed.roster, coordinator=Roster.load(signed.roster).coordinator)
    assert roster.fingerprint in said
    assert roster.fingerprint != before


def test_a_removed_site_is_gone_and_none_other(signed):
    before = Roster.load(signed.roster)
    signed.types("remove", signed.roster, "lyon")
    signed.signs()
    after = Roster.load(signed.roster)
    assert after.members == (before.members[0], before.members[2])
    assert (after.consortium, after.coordinator, after.server) == (before.consortium, before.coordinator, SERVER)


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


def test_show_names_members_fingerprint_and_whether_the_signature_holds(signed):
    roster = Roster.load(signed.roster)
    code, said = signed.shows()
    assert code == 0
    for each in (
        *NAMES,
        roster.members[0].public_key,
        roster.fingerprint,
        SERVER,
        roster.coordinator,
        roster.consortium,
    ):
        assert each in said
    assert re.search(r"signature +holds", said)


@pytest.mark.parametrize("change", ["never signed", "edited", "key swapped"])
def test_show_says_of_an_unsigned_or_edited_roster_that_it_is_and_fails(signed, change):
    value = json.loads(signed.roster.read_text())
    if change == "never signed":
        del value["signature"]
    elif change == "edited":
        value["members"].pop()
    else:
        value["members"][0]["public_key"] = SERVER
    signed.roster.write_text(json.dumps(value))
    code, said = signed.shows()
    assert code == 1
    assert re.search(r"signature +MISSING OR FALSE: sign it", said)


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
