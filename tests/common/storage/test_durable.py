from __future__ import annotations

import errno
import os
import stat
import tracemalloc

import pytest

from sealora_common.errors import StorageError
from sealora_common.storage import durable as storage
from sealora_common.storage.durable import append_line, append_whole_lines, whole_lines, write_atomically


def names(directory) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_written_whole_in_directories_that_need_not_be_there(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
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


def lines(*content: bytes):
    return lambda count: list(content)


def test_whole_lines_are_appended_and_read_again(tmp_path):
    path = tmp_path / "a" / "file"
    assert whole_lines(path) == []
    append_whole_lines(path, lines(b"one", b"two"))
    append_whole_lines(path, lines(b"three"))
    assert whole_lines(path) == [b"one", b"two", b"three"]
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_who_appends_is_told_how_many_lines_are_there(tmp_path):
    counts = []
    for _ in range(3):
        append_whole_lines(tmp_path / "file", lambda count: counts.append(count) or [b"line"])
    assert counts == [0, 1, 2]


@pytest.mark.parametrize("kept", range(4, 12))
def test_a_line_that_was_torn_counts_as_never_written_and_is_replaced(tmp_path, kept):
    path = tmp_path / "file"
    path.write_bytes(b"one\nlong line\n"[:kept])
    assert whole_lines(path) == [b"one"]
    append_whole_lines(path, lines(b"two"))
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("size", [2**16 - 1, 2**16, 2**16 + 1, 2**17, 200_000])
@pytest.mark.parametrize("torn", [b"", b"x", b"y" * 2**16, b"z" * 100_000])
def test_lines_longer_than_a_block_are_counted_once_and_what_is_torn_goes(tmp_path, size, torn):
    path, first = tmp_path / "file", b"a" * (size - 1)
    path.write_bytes(first + b"\nshort\n" + torn)
    counts = []
    append_whole_lines(path, lambda count: counts.append(count) or [b"next"])
    assert counts == [2]
    assert path.read_bytes() == first + b"\nshort\nnext\n"


def test_a_long_file_is_not_taken_into_memory_to_append_to_it(tmp_path):
    """It grows with every round of a run."""
    path = tmp_path / "file"
    path.write_bytes((b"a" * 26_000 + b"\n") * 300)
    tracemalloc.start()
    try:
        append_whole_lines(path, lines(b"next"))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_could_not_be_read_again_is_not_made_longer(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(512 * 2**20 + 1)
    with pytest.raises(StorageError, match="larger than 512 MiB, the most that is read"):
        append_whole_lines(path, lines(b"next"))
    assert path.stat().st_size == 512 * 2**20 + 1


def test_nothing_to_append_leaves_a_torn_line_where_it_is(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one\ntw")
    append_whole_lines(path, lines())
    assert path.read_bytes() == b"one\ntw"


def test_appended_lines_are_on_the_disk_and_so_is_the_new_file_s_name(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)), fsync(descriptor))
    )
    append_whole_lines(tmp_path / "file", lines(b"one"))
    append_whole_lines(tmp_path / "file", lines(b"two"))
    assert synced == [False, True, False]


def test_a_full_disk_tears_at_most_a_line(tmp_path, monkeypatch):
    path = tmp_path / "file"
    append_whole_lines(path, lines(b"one"))

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="the disk is full"):
            append_whole_lines(path, lines(b"two"))
    assert whole_lines(path)[0] == b"one"


def test_a_file_of_lines_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(StorageError, match=f"{tmp_path}: cannot be read"):
        whole_lines(tmp_path)
