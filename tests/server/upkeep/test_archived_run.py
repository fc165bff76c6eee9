"""Runs that are put away in one file and taken out again."""

from __future__ import annotations

import shutil

import pytest
from old_server import ROUNDS, files_of, identity_of
from typer.testing import CliRunner

from sealora_common.archive.write import ArchiveWriter
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import SealoraError, StorageError
from sealora_common.identity import Identity
from sealora_common.receipts.check import check_chain
from sealora_common.storage.lock import DirectoryLock, LockedError
from sealora_server.cli import cli
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.log_file import shown_log
from sealora_server.deployment.runs.submission import Operation
from sealora_server.run.store import RunStore
from sealora_server.upkeep.archived_run import archive_run, unarchive_run, verified
from sealora_server.upkeep.deletion import delete_run


def types(*words) -> str:
    result = CliRunner().invoke(cli, ["server", *map(str, words)], env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_run_comes_back_as_it_was_tells_its_story_and_proves_who_took_part(server, old, tmp_path):
    before = files_of(server.runs / "done")
    file = tmp_path / "done.tar"
    said = types("archive", "done", file, "--config", server.config_file)
    assert f"run done, finished, {ROUNDS} rounds" in said
    story = list(shown_log(server, "done", printed=False, follow=False))
    shutil.rmtree(server.runs / "done")
    assert "run done: here again" in types("unarchive", file, "--config", server.config_file)
    assert files_of(server.runs / "done") == before
    assert list(shown_log(server, "done", printed=False, follow=False)) == story
    store = RunStore.open(server.runs / "done")
    roster = old.rosters["done"]
    check_chain(store.receipts(), {roster.hash.hex(): roster}, run=store.run_id, recipe=store.recipe)
    assert Operation.load(store.directory).condition == "finished"


def test_one_that_was_not_finished_waits_for_its_operator(server, tmp_path):
    file = tmp_path / "half.tar"
    assert archive_run(server.runs / "half", file, identity_of(server)).rounds == 1
    with pytest.raises(DeploymentError, match="the same run is here as 'half': delete that one first"):
        unarchive_run(file, server.runs / "again", identity_of(server).public_key)
    assert not (server.runs / "again").exists()
    shutil.rmtree(server.runs / "half")
    unarchive_run(file, server.runs / "again", identity_of(server).public_key)
    operation = Operation.load(server.runs / "again")
    assert (operation.condition, operation.said) == ("stopped", "it was taken out of an archive: resume it")
    assert RunStore.open(server.runs / "again").finished_rounds == 1


def test_an_archive_is_checked_without_any_other_file_and_says_whose_it_is(server, old, tmp_path, monkeypatch):
    file = tmp_path / "done.tar"
    archive_run(server.runs / "done", file, identity_of(server))
    shutil.rmtree(server.path)
    monkeypatch.chdir(tmp_path)
    said = types("verify-archive", "done.tar")
    assert f"signed by the key {old.identity.fingerprint}: compare it" in said
    assert "none changed; 0 locked" in said
    content = bytearray(file.read_bytes())
    content[content.index(b"adapter_model.safetensors") + 700] ^= 1
    file.write_bytes(content)
    with pytest.raises(StorageError, match=r"adapter_model\.safetensors in it was changed or damaged"):
        verified(file)


def test_another_server_s_run_goes_into_a_directory_of_its_own_alone(server, tmp_path):
    file = tmp_path / "done.tar"
    archive_run(server.runs / "done", file, Identity.create("server", SystemEntropy()))
    with pytest.raises(DeploymentError, match=r"made by the server with the key .*: put it into a directory"):
        types("unarchive", file, "--name", "theirs", "--config", server.config_file)
    assert not (server.runs / "theirs").exists()
    types("unarchive", file, "--to", tmp_path / "theirs")
    assert files_of(tmp_path / "theirs") == files_of(server.runs / "done")


@pytest.mark.parametrize("condition", ["running", "queued"])
def test_a_run_under_way_or_in_line_is_not_put_away(server, tmp_path, condition):
    Operation(condition=condition).save(server.runs / "half")
    with pytest.raises(DeploymentError, match=f"run 'half' is {condition}: stop it first"):
        types("archive", "half", tmp_path / "half.tar", "--config", server.config_file)
    Operation(condition="stopped").save(server.runs / "half")
    with DirectoryLock(server.runs / "half", "this run"), pytest.raises(LockedError, match="is at work on this run"):
        types("archive", "half", tmp_path / "half.tar", "--config", server.config_file)
    assert not (tmp_path / "half.tar").exists()


def test_nothing_that_is_there_is_replaced(server, tmp_path):
    file = tmp_path / "done.tar"
    types("archive", "done", file, "--config", server.config_file)
    for words, said in (
        (["archive", "half", file], "exists and is not replaced"),
        (["unarchive", file], "there is something already"),
        (["unarchive", file, "--to", server.path], "there is something already"),
        (["unarchive", file, "--name", "../x"], "is no name for a run"),
    ):
        with pytest.raises(SealoraError, match=said):
            types(*words, *([] if "--to" in words else ["--config", server.config_file]))


def test_a_damaged_run_is_not_put_away_as_if_it_were_whole(server, tmp_path):
    (server.runs / "done" / "recipe.yaml").write_text("rounds: many")
    with pytest.raises(SealoraError, match=r"recipe\.yaml"):
        types("archive", "done", tmp_path / "done.tar", "--config", server.config_file)
    assert not (tmp_path / "done.tar").exists()


def test_whoever_deletes_a_run_is_told_what_goes_with_it_and_asked_for_its_name(server):
    with pytest.raises(DeploymentError, match="add --yes where nobody can be asked"):
        types("delete", "done", "--config", server.config_file)
    with pytest.raises(DeploymentError, match="no server runs there"):
        types("delete", "done", "--yes", "--config", server.config_file)
    faults = server.runs / "done" / "faults"
    faults.mkdir()
    (faults / "site-1.fault").write_bytes(b"x")
    result = CliRunner().invoke(cli, ["server", "delete", "done", "--yes", "--config", str(server.config_file)])
    assert f"done: {ROUNDS} rounds" in result.output
    assert "receipts, by which anybody can check who took part" in result.output
    assert "evidence against 1 of its sites" in result.output
    assert (server.runs / "done").is_dir()


def test_a_run_that_goes_away_while_it_is_put_away_leaves_no_archive_and_is_not_deleted_meanwhile(
    server, tmp_path, monkeypatch
):
    real, taken = ArchiveWriter.add_file, []

    def add_file(writer, path, *arguments, **options):
        real(writer, path, *arguments, **options)
        if path.endswith("0002/receipt.json"):
            with pytest.raises(LockedError, match="is at work on this run already"):
                delete_run(server.runs / "done")
            taken.append(path)
            (server.runs / "done" / "rounds" / "0003" / "round.json").rename(tmp_path / "aside")

    monkeypatch.setattr(ArchiveWriter, "add_file", add_file)
    with pytest.raises(StorageError, match=r"exists|went away|cannot write"):
        archive_run(server.runs / "done", tmp_path / "done.tar", identity_of(server))
    assert taken
    assert not (tmp_path / "done.tar").exists()
