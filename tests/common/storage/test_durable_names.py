"""A mark, a new name and a line are on the disk when the call returns, and of several at once each has its turn."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sealora_common.errors import StorageError
from sealora_common.storage.durable import append_whole_lines, create_once, rename_durably, whole_lines


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was flushed to the disk or renamed, in order."""
    happened: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        happened.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        happened.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    return happened


def test_a_mark_is_on_the_disk_with_its_name_when_it_is_said_to_be_made(tmp_path: Path, flushed: list[str]) -> None:
    assert create_once(tmp_path / "mark")
    assert flushed == ["file", "directory"]
    assert not create_once(tmp_path / "mark")
    assert flushed == ["file", "directory"]
    assert stat.S_IMODE((tmp_path / "mark").stat().st_mode) == 0o600


def test_of_many_who_make_a_mark_at_once_one_does(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_once(tmp_path / "a" / "mark"), range(50)))
    assert sum(made) == 1


def test_a_mark_that_cannot_be_made_is_an_error_and_not_one_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"):
        create_once(tmp_path / "file" / "mark")


def test_a_new_name_is_on_the_disk_when_the_call_returns(tmp_path: Path, flushed: list[str]) -> None:
    (tmp_path / "aside").write_bytes(b"content")
    rename_durably(tmp_path / "aside", tmp_path / "file")
    assert flushed == ["replace", "directory"]
    assert (tmp_path / "file").read_bytes() == b"content"


def test_who_appends_waits_for_who_is_at_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    at_it, go_on = threading.Event(), threading.Event()
    counts: list[int] = []

    def first(count: int) -> list[bytes]:
        at_it.set()
        assert go_on.wait(20)
        return [b"first"]

    def second(count: int) -> list[bytes]:
        counts.append(count)
        return [b"second"]

    threads = [threading.Thread(target=append_whole_lines, args=(path, lines)) for lines in (first, second)]
    threads[0].start()
    assert at_it.wait(20)
    threads[1].start()
    threads[1].join(0.3)
    assert counts == []
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert counts == [1]
    assert whole_lines(path) == [b"first", b"second"]
