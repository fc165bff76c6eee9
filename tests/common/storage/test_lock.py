from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from sealora_common.errors import StorageError
from sealora_common.storage.lock import DirectoryLock, LockedError, locked

HOLD = """
import sys, time
from pathlib import Path
from sealora_common.storage.lock import DirectoryLock

with DirectoryLock(Path(sys.argv[1]), "this run"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path, holder):
    with pytest.raises(LockedError) as caught, DirectoryLock(tmp_path, "this run"):
        pass
    assert f"{tmp_path}: process {holder.pid} is at work on this run already" in str(caught.value)
    assert "leave it to its work, or stop it first" in str(caught.value)


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with DirectoryLock(tmp_path, "this run"):
        pass


def test_it_is_free_again_after_the_block(tmp_path):
    for _ in range(2):
        with DirectoryLock(tmp_path, "this run"):
            pass


def test_two_holders_in_one_process_are_refused_too(tmp_path):
    with DirectoryLock(tmp_path, "this run"), pytest.raises(LockedError), DirectoryLock(tmp_path, "this run"):
        pass


def test_a_directory_that_is_not_there_ends_in_a_sentence(tmp_path):
    with pytest.raises(StorageError, match="cannot write"), DirectoryLock(tmp_path / "missing", "this run"):
        pass


def test_a_lock_is_waited_for_as_long_as_is_said(tmp_path, holder):
    with pytest.raises(LockedError) as caught, locked(tmp_path / ".lock", seconds=0.1):
        pass
    assert caught.value.holder == str(holder.pid)
    os.kill(holder.pid, signal.SIGKILL)
    with locked(tmp_path / ".lock", seconds=30):
        pass


def test_a_lock_may_be_waited_for_until_it_is_free(tmp_path):
    order = []

    def second() -> None:
        with locked(tmp_path / "lock", seconds=None):
            order.append("second")

    with locked(tmp_path / "lock"):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(30)
    assert order == ["first", "second"]


def test_no_symbolic_link_is_followed_to_a_lock(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="is a symbolic link"), locked(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
