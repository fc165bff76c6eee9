from __future__ import annotations

import errno
import os
import stat

import pytest

from sealora_common import storage
from sealora_common.errors import StorageError
from sealora_common.storage import append_line, write_atomically


def names(directory) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_written_whole_in_directories_that_need_not_be_there(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert names(path.parent) == ["file"]


def test_a_secret_is_never_readable_by_others_not_even_for_a_moment(tmp_path, monkeypatch):
    modes = []
    replace = os.replace

    def spied(source, target):
        modes.append(stat.S_IMODE(os.stat(source).st_mode))
        replace(source, target)

    monkeypatch.setattr(os, "replace", spied)
    write_atomically(tmp_path / "key", b"secret", mode=0o600)
    assert modes == [0o600]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    happened = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (happened.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda a, b: (happened.append("replace"), replace(a, b)))
    write_atomically(tmp_path / "file", b"content")
    assert happened == ["fsync", "replace", "fsync"]  # the file, its new name, the directory that holds it


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_crash_at_any_step_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def die(*arguments):
        raise KeyboardInterrupt

    if step == "write":
        monkeypatch.setattr(os, "fchmod", die)
    else:
        monkeypatch.setattr(os, step, die)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


SAID = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space or raise the quota",
    errno.EFBIG: "the file-size limit of this account is too small",
    errno.EACCES: "permission denied",
    errno.EROFS: "the file system is read-only: choose another directory",
    errno.EIO: "Input/output error: check the disk",
}


@pytest.mark.parametrize("number", SAID)
def test_an_error_of_the_disk_is_one_sentence_and_costs_the_old_file_nothing(tmp_path, monkeypatch, number):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError) as caught:
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert f"cannot write {path}: {SAID[number]}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_path_through_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_atomically(tmp_path / "file" / "inner", b"")


def test_a_directory_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "directory").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write_atomically(tmp_path / "directory", b"")
    assert names(tmp_path) == ["directory"]


def test_lines_are_appended_in_order_each_with_one_end(tmp_path):
    path = tmp_path / "sub" / "log"
    for line in ("one", "two\n", "drei: ü"):
        append_line(path, line)
    assert path.read_text(encoding="utf-8") == "one\ntwo\ndrei: ü\n"


def test_a_line_is_on_the_disk_when_the_call_returns(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(storage.os, "fsync", lambda descriptor: synced.append((tmp_path / "log").read_text()))
    append_line(tmp_path / "log", "line")
    assert synced == ["line\n"]


def test_a_line_that_cannot_be_written_is_an_error_of_ours(tmp_path):
    with pytest.raises(StorageError, match="cannot write"):
        append_line(tmp_path, "line")
