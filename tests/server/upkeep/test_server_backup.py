"""A server's directory in one file and back, also of a run that goes on while it is copied."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time

import pytest
from old_server import files_of, identity_of, server_at
from running_server import SEALORA
from typer.testing import CliRunner

from sealora_common.archive.read import opened_archive
from sealora_common.archive.write import ArchiveWriter
from sealora_common.errors import SealoraError, StorageError
from sealora_server.cli import cli
from sealora_server.deployment.runs.submission import Operation
from sealora_server.run.store import RunStore
from sealora_server.run.stored.records import EVALUATION, RESULT
from sealora_server.upkeep import run_files
from sealora_server.upkeep.archived_run import verified
from sealora_server.upkeep.backup import back_up_server, restore_server
from sealora_server.upkeep.retention import AdapterRetention, prune

WORD = b"correct horse"
MADE_ANEW = {"logs", "sockets", "state"}


def types(*words) -> str:
    result = CliRunner().invoke(cli, ["server", *map(str, words)], env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def word(tmp_path):
    (tmp_path / "word").write_bytes(WORD + b"\n")
    return tmp_path / "word"


def test_a_server_comes_back_file_by_file_with_its_modes(server, tmp_path, word):
    file, config = tmp_path / "backup.tar", ["--config", server.config_file]
    said = types("backup", file, "--passphrase-file", word, *config)
    assert "run done: 3 rounds" in said
    assert "run half: 1 rounds" in said
    assert "private keys locked" in said
    types("restore", file, tmp_path / "back", "--passphrase-file", word)
    assert files_of(tmp_path / "back") == files_of(server.path)
    for path in (tmp_path / "back").rglob("*"):
        same = server.path / path.relative_to(tmp_path / "back")
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(same.stat().st_mode), path
    restored = RunStore.open(server_at(tmp_path / "back").runs / "half")
    assert restored.server_identity().public_key == identity_of(server).public_key


def test_private_keys_are_in_it_locked_or_because_somebody_said_so_and_never_by_accident(server, tmp_path, word):
    config = ["--config", server.config_file]
    with pytest.raises(StorageError, match="there is no terminal to ask at: name a file"):
        types("backup", tmp_path / "a.tar", *config)
    with pytest.raises(SealoraError, match="exclude each other"):
        types("backup", tmp_path / "a.tar", "--keys-open", "--passphrase-file", word, *config)
    assert not (tmp_path / "a.tar").exists()
    secrets = [server.identity, server.key, server.path / "tls/ca-key.pem"]
    lines = [path.read_bytes().splitlines()[1] for path in secrets]
    types("backup", tmp_path / "locked.tar", "--passphrase-file", word, *config)
    assert "private keys OPEN" in types("backup", tmp_path / "open.tar", "--keys-open", *config)
    for line in lines:
        assert line not in (tmp_path / "locked.tar").read_bytes()
        assert line in (tmp_path / "open.tar").read_bytes()
    (tmp_path / "word").write_bytes(b"another")
    with pytest.raises(StorageError, match="the passphrase is wrong"):
        types("restore", tmp_path / "locked.tar", tmp_path / "back", "--passphrase-file", word)
    assert not (tmp_path / "back").exists()
    types("restore", tmp_path / "open.tar", tmp_path / "back")


def test_a_server_is_put_back_over_nothing(server, tmp_path):
    back_up_server(server, tmp_path / "a.tar", None)
    for place in (server.path, server.path / "runs"):
        with pytest.raises(StorageError, match="there is something already, and nothing is replaced"):
            restore_server(tmp_path / "a.tar", place, lambda: WORD)


def test_a_backup_that_somebody_else_made_and_signed_of_a_server_s_files_is_refused(server, old, tmp_path):
    from sealora_common.archive.write import new_archive
    from sealora_common.entropy import SystemEntropy
    from sealora_common.identity import Identity

    stranger = Identity.create("server", SystemEntropy())
    with new_archive(tmp_path / "a.tar", kind="server", name="x", identity=stranger) as writer:
        for name in ("server.yaml", "identity.pem", "identity.pub"):
            writer.add(name, (server.path / name).read_bytes())
    with pytest.raises(SealoraError, match="was signed by another key than its server's"):
        restore_server(tmp_path / "a.tar", tmp_path / "back", lambda: WORD)
    assert not (tmp_path / "back").exists()


def test_what_lies_elsewhere_or_is_damaged_is_told(server, tmp_path):
    elsewhere = tmp_path / "elsewhere.pem"
    elsewhere.write_bytes(server.certificate.read_bytes())
    text = server.config_file.read_text()
    server.config_file.write_text(text.replace("certificate: tls/server.pem", f"certificate: {elsewhere}"))
    (server.runs / "half" / "run.json").write_text("{")
    said = types("backup", tmp_path / "a.tar", "--keys-open", "--config", server.config_file)
    assert f"NOT in it: {elsewhere}, which lies outside of the server's directory" in said
    assert "NOT in it: run half, which is damaged" in said


class Moving:
    """A run that goes on while it is copied: before each file that is added, something happens."""

    def __init__(self, monkeypatch, *steps):
        self.steps = list(steps)
        add = ArchiveWriter.add_file

        def add_file(writer, path, *arguments, **options):
            if self.steps and path.startswith("runs/"):
                self.steps.pop(0)()
            add(writer, path, *arguments, **options)

        monkeypatch.setattr(ArchiveWriter, "add_file", add_file)


def test_a_run_that_ends_while_it_is_copied_is_in_it_as_one_that_goes_on(server, tmp_path, monkeypatch):
    """The run's own end comes between any two files that are read; whatever the copy holds can be gone on with."""
    directory = server.runs / "done"
    end = {
        path: path.read_bytes() for path in (directory / RESULT, directory / EVALUATION, directory / "operation.json")
    }
    for moment in range(6):
        for path in end:
            path.unlink()
        (directory / "rounds" / "0003").rename(directory / "aside")
        Operation(condition="running").save(directory)

        def finish():
            (directory / "aside").rename(directory / "rounds" / "0003")
            for path, content in reversed(end.items()):
                path.write_bytes(content)

        with monkeypatch.context() as patch:
            moving = Moving(patch, *[lambda: None] * moment, finish)
            back_up_server(server, tmp_path / f"{moment}.tar", None)
        assert moving.steps == []
        restored, _ = restore_server(tmp_path / f"{moment}.tar", tmp_path / str(moment), lambda: WORD)
        store = RunStore.open(restored.runs / "done")
        names = {path.name for path in store.directory.iterdir()}
        rounds = store.finished_rounds
        assert (EVALUATION in names) <= (rounds == 3)
        assert (RESULT in names) <= (EVALUATION in names)
        assert (Operation.load(store.directory).condition == "finished") <= (RESULT in names)
        assert (RESULT in names) == (store.directory / "adapter" / "adapter_model.safetensors").exists()
        assert len(store.mended_receipts()) == rounds


def test_no_adapter_is_deleted_of_a_run_that_is_being_copied(server, tmp_path, monkeypatch):
    store, deleted = RunStore.open(server.runs / "done"), []
    retention = AdapterRetention(keep_last=1, keep_best=False)
    prunes = [lambda: deleted.append(prune(store, retention))] * 5
    Moving(monkeypatch, *prunes)
    back_up_server(server, tmp_path / "a.tar", None)
    assert deleted == [[]] * 5
    assert prune(store, retention) == [1, 2]


def test_a_line_that_is_being_written_is_left_out(server, tmp_path, monkeypatch):
    monkeypatch.setattr(run_files, "_STEP", 7)
    events = server.runs / "half" / "events.jsonl"
    whole = events.read_bytes()
    events.write_bytes(whole + b'{"time": 1, "ev')
    (server.runs / "half" / "serverapp.log").write_bytes(b"no end")
    back_up_server(server, tmp_path / "a.tar", None)
    with opened_archive(tmp_path / "a.tar") as archive:
        assert archive.read("runs/half/events.jsonl") == whole
        assert archive.read("runs/half/serverapp.log") == b""


def test_temporary_files_and_links_out_of_a_run_are_not_copied(server, tmp_path):
    (server.runs / "half" / ".events.jsonl.x").write_text("half")
    (server.runs / "half" / "rounds" / ".0002.unfinished").mkdir()
    (server.runs / ".old.deleted").mkdir()
    back_up_server(server, tmp_path / "a.tar", None)
    with opened_archive(tmp_path / "a.tar") as archive:
        assert not any("/." in each.path for each in archive.files)
    (server.runs / "half" / "more").symlink_to("/etc")
    with pytest.raises(StorageError, match="is a symbolic link, through which nothing is copied"):
        back_up_server(server, tmp_path / "b.tar", None)
    assert not (tmp_path / "b.tar").exists()


def test_a_kill_in_the_middle_of_backup_or_restore_leaves_nothing_or_all_under_its_name(server, tmp_path):
    (server.runs / "half" / "big").write_bytes(os.urandom(64 * 2**20))
    archive, back = tmp_path / "a.tar", tmp_path / "back"

    def whole(made):
        if made == back:
            return files_of(back) == files_of(server.path)
        return verified(archive).kind == "server"

    for words, made, aside in (
        (["backup", archive, "--keys-open", "--config", server.config_file], archive, ".a.tar.unfinished"),
        (["restore", archive, back], back, ".back.restoring"),
    ):
        process = subprocess.Popen([sys.executable, "-c", SEALORA, "server", *map(str, words)])
        while process.poll() is None and not (tmp_path / aside).exists():
            time.sleep(0.002)
        time.sleep(0.01)
        process.kill()
        process.wait()
        assert (tmp_path / aside).exists() != made.exists()
        if not made.exists():
            types(*words)
        assert whole(made)
        assert not (tmp_path / aside).exists()
