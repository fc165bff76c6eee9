"""`sealora server init` and `certificate renew`, as an operator types them."""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from sealora_common.errors import SealoraError, StorageError
from sealora_common.identity import Identity
from sealora_common.roster import Roster
from sealora_server.cli import cli
from sealora_server.deployment.config import ServerConfig
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.tls.certificates import check_certificate, create_authority, issue_certificate


def types(*words: object) -> str:
    result = CliRunner().invoke(cli, ["server", *map(str, words)])
    if result.exception is not None:
        raise result.exception
    return result.output


def init(directory, *words: object) -> str:
    return types("init", directory, "--host", "localhost", *words)


def test_it_makes_a_directory_that_is_ready_to_run(tmp_path):
    init(tmp_path / "server", "--host", "127.0.0.1", "--listen", "127.0.0.1:9555")
    server = ServerDirectory(tmp_path / "server" / "server.yaml")
    assert server.config == ServerConfig(listen="127.0.0.1:9555", hosts=("localhost", "127.0.0.1"))
    statuses = check_certificate(server.certificate, server.key, server.config.hosts, server.ca, datetime.now(UTC))
    assert [status.path.name for status in statuses] == ["server.pem", "ca.pem"]
    assert Identity.load("server", server.identity)


def test_what_is_secret_is_for_its_owner_alone(tmp_path):
    init(tmp_path / "server")
    assert (tmp_path / "server").stat().st_mode & 0o777 == 0o700
    for name in ("identity.pem", "tls/ca-key.pem", "tls/server-key.pem"):
        assert (tmp_path / "server" / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_nothing_of_it_is_others_whatever_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        init(tmp_path / "server")
    finally:
        os.umask(before)
    public = {"identity.pub", "ca.pem", "server.pem"}
    for path in (tmp_path / "server").rglob("*"):
        expected = 0o700 if path.is_dir() else 0o644 if path.name in public else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_it_goes_through_no_symbolic_link(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "server").symlink_to(tmp_path / "theirs")
    with pytest.raises(StorageError, match="is a symbolic link"):
        init(tmp_path / "server")
    assert list((tmp_path / "theirs").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_it_takes_no_directory_of_another_account(tmp_path):
    (tmp_path / "server").mkdir()
    os.chown(tmp_path / "server", 12345, 12345)
    with pytest.raises(StorageError, match="belongs to another account"):
        init(tmp_path / "server")
    assert list((tmp_path / "server").iterdir()) == []


def test_it_writes_the_key_that_the_coordinator_puts_into_the_roster_and_prints_its_fingerprint(tmp_path):
    said = init(tmp_path / "server")
    identity = Identity.load("server", tmp_path / "server" / "identity.pem")
    assert re.search(rf"^Fingerprint of that key, .*: {identity.fingerprint}$", said, re.MULTILINE)
    roster, file = tmp_path / "roster.json", tmp_path / "server" / "identity.pub"
    assert f"{file}: its public half" in said
    words = ["--consortium", "c", "--server", str(file), "--key", str(tmp_path / "c.pem")]
    created = CliRunner().invoke(cli, ["roster", "create", str(roster), *words])
    assert created.exit_code == 0
    assert identity.fingerprint in created.output
    assert Roster.load(roster, draft=True).server == identity.public_key_text


def test_a_server_is_not_made_over_another(tmp_path):
    init(tmp_path / "server")
    key = (tmp_path / "server" / "identity.pem").read_bytes()
    with pytest.raises(DeploymentError, match=r"server\.yaml exists: there is a server here already"):
        init(tmp_path / "server")
    (tmp_path / "server" / "server.yaml").unlink()
    with pytest.raises(DeploymentError, match=r"identity\.pem exists"):
        init(tmp_path / "server")
    assert (tmp_path / "server" / "identity.pem").read_bytes() == key


def test_a_certificate_of_the_operator_s_own_is_used_where_it_lies(tmp_path):
    create_authority(tmp_path / "ca.pem", tmp_path / "ca-key.pem", "own")
    files = {"authority": tmp_path / "ca.pem", "authority_key": tmp_path / "ca-key.pem"}
    issue_certificate(["localhost"], certificate=tmp_path / "own.pem", key=tmp_path / "own-key.pem", **files)
    own = ["--certificate", tmp_path / "own.pem", "--key", tmp_path / "own-key.pem", "--ca", tmp_path / "ca.pem"]
    init(tmp_path / "server", *own)
    server = ServerDirectory(tmp_path / "server" / "server.yaml")
    assert (server.certificate, server.key, server.ca) == tuple(own[1::2])
    assert not (tmp_path / "server" / "tls").exists()
    with pytest.raises(DeploymentError, match="the authority's key is not there: put it back for the renewal"):
        types("certificate", "renew", "--config", server.config_file)


def test_one_that_is_for_another_host_is_refused_and_nothing_is_made(tmp_path):
    create_authority(tmp_path / "ca.pem", tmp_path / "ca-key.pem", "own")
    files = {"authority": tmp_path / "ca.pem", "authority_key": tmp_path / "ca-key.pem"}
    issue_certificate(["other"], certificate=tmp_path / "own.pem", key=tmp_path / "own-key.pem", **files)
    with pytest.raises(DeploymentError, match="not for localhost"):
        init(tmp_path / "server", "--certificate", tmp_path / "own.pem", "--key", tmp_path / "own-key.pem")
    assert not (tmp_path / "server" / "server.yaml").exists()
    assert not (tmp_path / "server" / "identity.pem").exists()


@pytest.mark.parametrize("words", [["--certificate", "a"], ["--key", "a"], ["--ca", "a"]])
def test_half_a_certificate_is_refused(tmp_path, words):
    with pytest.raises(DeploymentError, match="--certificate, --key and --ca belong together"):
        init(tmp_path / "server", *words)


def test_an_address_that_is_none_is_refused(tmp_path):
    with pytest.raises(DeploymentError, match=r"--listen: 'nowhere' is no address and port, such as 0\.0\.0\.0:9443"):
        init(tmp_path / "server", "--listen", "nowhere")
    assert not (tmp_path / "server").exists()


def test_a_directory_whose_sockets_could_not_be_addressed_is_refused(tmp_path):
    with pytest.raises(DeploymentError, match="bytes too long for Unix sockets in it: choose a shorter one"):
        init(tmp_path / ("a" * 60) / ("b" * 60))


def test_a_place_that_cannot_be_written_ends_in_a_sentence(tmp_path):
    (tmp_path / "f").write_text("")  # short, as the path is held to what a Unix socket's may have first
    with pytest.raises(StorageError, match="part of its path is a file"):
        init(tmp_path / "f" / "s")


def test_renewing_makes_a_new_certificate_that_sites_need_nothing_new_for(tmp_path):
    init(tmp_path / "server")
    server = ServerDirectory(tmp_path / "server" / "server.yaml")
    before, pinned = server.certificate.read_bytes(), (server.path / "tls" / "ca.pem").read_bytes()
    said = types("certificate", "renew", "--config", server.config_file)
    assert server.certificate.read_bytes() != before
    assert (server.path / "tls" / "ca.pem").read_bytes() == pinned
    assert f"valid until {datetime.now(UTC) + timedelta(days=365):%Y-%m}" in said


def test_a_host_that_was_added_is_in_the_renewed_certificate(tmp_path):
    init(tmp_path / "server")
    file = tmp_path / "server" / "server.yaml"
    file.write_text(file.read_text().replace("- localhost", "- localhost\n- new.example.org"))
    types("certificate", "renew", "--config", file)
    server = ServerDirectory(file)
    assert check_certificate(server.certificate, server.key, ["new.example.org"], server.ca, datetime.now(UTC))


def test_every_error_is_one_sentence(tmp_path):
    for words in (["init", tmp_path / "a", "--host", "bücher"], ["certificate", "renew", "--config", tmp_path / "x"]):
        with pytest.raises(SealoraError) as caught:
            types(*words)
        assert "\n" not in str(caught.value)
