"""`sealora-site init`, as a site's operator types it."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from typer.testing import CliRunner

from sealora_client.cli import cli, main
from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import PolicyError, StorageError
from sealora_common.identity import PASSPHRASE_FILE, Identity, keyfile
from sealora_common.identity.card import SiteCard

SECRET = "correct horse battery staple"


@pytest.fixture(autouse=True)
def no_passphrase_from_outside(monkeypatch):
    monkeypatch.delenv(PASSPHRASE_FILE, raising=False)


def init(directory: Path, *options: str, name: str = "berlin", typed: str = "") -> str:
    result = CliRunner().invoke(cli, ["init", name, "--directory", str(directory), *options], input=typed)
    if result.exception is not None:
        raise result.exception
    return result.output


def locked(directory: Path) -> Path:
    init(directory, "--lock", typed=f"{SECRET}\n{SECRET}\n")
    return directory / "identity.pem"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_makes_two_private_keys_for_their_owner_alone_and_a_card(tmp_path):
    said = init(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "berlin.card.json",
        "identity.pem",
        "node.key",
        "policy.yaml",
        "site.yaml",
    ]
    assert {mode(tmp_path / "identity.pem"), mode(tmp_path / "node.key")} == {0o600}
    card = SiteCard.load(tmp_path / "berlin.card.json")
    assert card.name == "berlin"
    assert card.public_key == Identity.load("berlin", tmp_path / "identity.pem").public_key_text
    assert "never leave it" in said
    assert f"read this out: {card.fingerprint}\n" in said


def test_keys_are_0600_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        init(tmp_path)
    finally:
        os.umask(before)
    assert {mode(tmp_path / "identity.pem"), mode(tmp_path / "node.key")} == {0o600}


def test_the_node_key_is_what_flower_s_supernode_reads(tmp_path):
    init(tmp_path)
    private = load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    assert isinstance(private, EllipticCurvePrivateKey)
    assert isinstance(private.curve, SECP384R1)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert SiteCard.load(tmp_path / "berlin.card.json").node_key == public


def test_the_card_holds_nothing_private(tmp_path):
    init(tmp_path)
    key = Identity.load("berlin", tmp_path / "identity.pem")._private
    card = (tmp_path / "berlin.card.json").read_text()
    assert set(json.loads(card)) == {"version", "name", "public_key", "node_key", "signature"}
    for private in (key.ed25519.private_bytes_raw(), key.mldsa.private_bytes_raw()):
        assert private.hex() not in card
        assert base64.b64encode(private).decode().rstrip("=") not in card
    assert "PRIVATE" not in card


def test_no_two_sites_get_the_same_keys(tmp_path):
    cards = []
    for name in ("a", "b"):
        init(tmp_path / name, name=name)
        cards.append(SiteCard.load(tmp_path / name / f"{name}.card.json"))
    assert cards[0].public_key != cards[1].public_key
    assert cards[0].node_key != cards[1].node_key


@pytest.mark.parametrize("left", ["identity.pem", "node.key", "both"])
def test_keys_are_never_overwritten(tmp_path, left):
    init(tmp_path)
    for file in ("identity.pem", "node.key"):
        if left not in (file, "both"):
            (tmp_path / file).unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(PolicyError, match="exists: this site has keys already; move them away to make new ones"):
        init(tmp_path, name="lyon")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["Berlin", "berlin mitte", "../berlin", "", "a" * 64])
def test_a_name_that_is_none_makes_no_keys(tmp_path, name):
    with pytest.raises(PolicyError, match="is no name for a site"):
        init(tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


# The files a person completes


def test_the_site_file_holds_what_is_known_and_names_what_is_not(tmp_path):
    said = init(tmp_path)
    with pytest.raises(PolicyError, match=r"site\.yaml: coordinator: missing: add it"):
        SiteConfig.load(tmp_path / "site.yaml")
    text = (tmp_path / "site.yaml").read_text()
    assert "# coordinator: 64 hexadecimal digits" in text
    assert "# server: https://host:9443" in text
    assert "then `sealora-site check`, `sealora-site run`" in said


def test_given_what_it_needs_the_site_file_is_complete(tmp_path):
    server = "https://server.example:9443"
    said = init(tmp_path, "--data", "own/records.jsonl", "--server", server, "--coordinator", "ab" * 32)
    assert "the coordinator's key is VOV2X-K5LVO-V2XK5-LVOV2; have the coordinator read it out" in said
    config = SiteConfig.load(tmp_path / "site.yaml")
    assert config == SiteConfig(
        name="berlin", data=Path("own/records.jsonl"), coordinator="ab" * 32, server=server, ca=Path("ca.pem")
    )


def test_the_policy_it_begins_is_careful_and_says_what_else_there_is(tmp_path):
    init(tmp_path)
    policy = SitePolicy.load(tmp_path / "policy.yaml")
    assert policy == SitePolicy(epsilon_limit=8.0, delta_limit=1e-5)
    text = (tmp_path / "policy.yaml").read_text()
    lines = [line.removeprefix("# ") for line in text.splitlines() if ": " in line]
    named = {line.partition(":")[0] for line in lines}
    without_privacy = {"allow_without_privacy", "allow_groups_without_privacy"}  # not what one should be tempted to
    assert set(SitePolicy.model_fields) - without_privacy <= named


@pytest.mark.parametrize(("rows", "delta"), [(100, 1e-4), (6000, 1e-5)])
def test_the_delta_it_begins_with_follows_from_the_number_of_records(tmp_path, rows, delta):
    (tmp_path / "own.jsonl").write_text('{"note": "a"}\n' * rows)
    init(tmp_path / "site", "--data", str(tmp_path / "own.jsonl"))
    policy = SitePolicy.load(tmp_path / "site" / "policy.yaml")
    assert policy == SitePolicy(epsilon_limit=8.0, delta_limit=delta)
    assert (
        "# Delta: a power of ten below half of 1 / the number of records here."
        in (tmp_path / "site" / "policy.yaml").read_text()
    )


def test_every_line_of_the_policy_it_begins_is_one_that_can_be_used(tmp_path):
    init(tmp_path)
    text = (tmp_path / "policy.yaml").read_text()
    uncommented = re.sub(r"^# ([a-z_]+: )", r"\1", text, flags=re.MULTILINE)
    uncommented = uncommented.replace("[SHA-256 of `sealora-site model digest`]", f"[{'ab' * 32}]")
    (tmp_path / "policy.yaml").write_text(uncommented)
    assert SitePolicy.load(tmp_path / "policy.yaml").hours == ("20:00-06:00",)


def test_files_that_are_there_are_kept(tmp_path):
    (tmp_path / "site.yaml").write_text("name: mine\n")
    (tmp_path / "policy.yaml").write_text("epsilon_limit: 1\n")
    init(tmp_path)
    assert (tmp_path / "site.yaml").read_text() == "name: mine\n"
    assert (tmp_path / "policy.yaml").read_text() == "epsilon_limit: 1\n"


WRONG = {
    "no address": (["--server", "server.example"], "--server: 'server.example' is no address of a server"),
    "not encrypted": (["--server", "http://server.example"], "--server: 'http://server.example' is not encrypted"),
    "with a path": (["--server", "https://server.example/x"], "is no address of a server: write https://host:port"),
    "no key": (["--coordinator", "abc"], "--coordinator: 'abc' will not do: string should match pattern"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_site_file_would_not_take_makes_no_keys(tmp_path, case):
    options, said = WRONG[case]
    with pytest.raises(PolicyError) as caught:
        init(tmp_path, *options)
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9443", "http://localhost:1", "http://[::1]:9443"])
def test_a_server_on_this_machine_may_be_reached_in_plain(tmp_path, address):
    init(tmp_path, "--server", address, "--coordinator", "ab" * 32)
    assert SiteConfig.load(tmp_path / "site.yaml").server == address


# Locked by a passphrase


def test_both_keys_are_encrypted_under_the_passphrase(tmp_path):
    path = locked(tmp_path)
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert SECRET.encode() not in path.read_bytes()
    with pytest.raises((ValueError, TypeError)):
        load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    node = load_ssh_private_key((tmp_path / "node.key").read_bytes(), SECRET.encode())
    assert isinstance(node, EllipticCurvePrivateKey)
    assert {mode(path), mode(tmp_path / "node.key")} == {0o600}


def test_a_passphrase_mistyped_once_locks_nothing(tmp_path):
    with pytest.raises(SystemExit):
        init(tmp_path, "--lock", typed=f"{SECRET}\nanother\n")
    assert list(tmp_path.iterdir()) == []


def test_the_passphrase_can_come_from_a_file(tmp_path, monkeypatch):
    """So that a site can be begun by a script, or where there is no terminal."""
    (tmp_path / "passphrase").write_text(SECRET + "\n")
    monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "passphrase"))
    init(tmp_path / "site", "--lock")
    assert (tmp_path / "site" / "identity.pem").read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    load_ssh_private_key((tmp_path / "site" / "node.key").read_bytes(), SECRET.encode())
    assert Identity.load("berlin", tmp_path / "site" / "identity.pem").name == "berlin"


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_passphrase_file_locks_nothing(tmp_path, monkeypatch, content):
    (tmp_path / "passphrase").write_text(content)
    monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "passphrase"))
    with pytest.raises(PolicyError, match="passphrase: is empty: write the passphrase into it"):
        init(tmp_path / "site", "--lock")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_locked_key_opens_with_the_passphrase_in_a_file(tmp_path, monkeypatch, ending):
    path = locked(tmp_path)
    (tmp_path / "passphrase").write_text(SECRET + ending, newline="")
    monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "passphrase"))
    card = SiteCard.load(tmp_path / "berlin.card.json")
    assert Identity.load("berlin", path).public_key_text == card.public_key


def test_a_locked_key_opens_with_the_passphrase_typed(tmp_path, monkeypatch):
    path = locked(tmp_path)
    asked = []
    monkeypatch.setattr(keyfile.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(keyfile.getpass, "getpass", lambda prompt: (asked.append(prompt), SECRET)[1])
    Identity.load("berlin", path)
    assert asked == [f"Passphrase of {path}: "]


@pytest.mark.parametrize("wrong", ["another", SECRET + " ", SECRET.upper()])
def test_a_wrong_passphrase_opens_nothing(tmp_path, monkeypatch, wrong):
    path = locked(tmp_path)
    (tmp_path / "passphrase").write_text(wrong)
    monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "passphrase"))
    with pytest.raises(StorageError, match="cannot be opened, the passphrase is wrong"):
        Identity.load("berlin", path)


def test_without_passphrase_and_terminal_the_remedy_is_named(tmp_path, monkeypatch):
    path = locked(tmp_path)
    with pytest.raises(StorageError, match=rf"name a file that holds it in {PASSPHRASE_FILE}"):
        Identity.load("berlin", path)
    monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match="nowhere: the passphrase file cannot be read"):
        Identity.load("berlin", path)


@pytest.mark.parametrize("exposed", [0o604, 0o640, 0o620, 0o644, 0o666, 0o601])
def test_a_key_that_others_can_reach_is_refused(tmp_path, exposed):
    init(tmp_path)
    path = tmp_path / "identity.pem"
    path.chmod(exposed)
    with pytest.raises(StorageError, match="others can read this private key: chmod 600 it"):
        Identity.load("berlin", path)
    path.chmod(0o400)
    Identity.load("berlin", path)


# As a command


def test_an_error_is_one_sentence_on_stderr_and_exit_code_1(tmp_path, monkeypatch, capsys):
    init(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sealora-site", "init", "berlin", "--directory", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main()
    captured = capsys.readouterr()
    assert left.value.code == 1
    assert captured.out == ""
    assert captured.err.startswith(f"Error: {tmp_path / 'identity.pem'} exists")
    assert captured.err.count("\n") == 1


@pytest.mark.slow
def test_the_installed_command_makes_keys_and_refuses_to_make_them_twice(tmp_path):
    command = [str(Path(sys.executable).parent / "sealora-site"), "init", "berlin", "--directory", str(tmp_path)]
    first = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (first.returncode, first.stderr) == (0, "")
    assert mode(tmp_path / "identity.pem") == 0o600
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith("Error: ")
    assert second.stderr.count("\n") == 1
