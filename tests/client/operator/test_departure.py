"""The wish that a site leave: kept in a file, never made a later one, obeyed, taken back."""

from __future__ import annotations

import os
import threading

import pytest

from sealora_client.operator.departure import DEPARTURE, depart, departure, obeyed, take_part_again, wait_until_wanted
from sealora_common.errors import StorageError


def test_a_wish_is_for_this_account_and_stays_until_it_is_taken_back(tmp_path):
    assert departure(tmp_path) is None
    depart(tmp_path, "after-round")
    assert (tmp_path / DEPARTURE).stat().st_mode & 0o777 == 0o600
    assert departure(tmp_path).when == "after-round"
    assert take_part_again(tmp_path)
    assert departure(tmp_path) is None
    assert not take_part_again(tmp_path)


def test_a_wish_to_stop_now_is_not_made_a_later_one(tmp_path):
    first = depart(tmp_path, "after-round")
    assert depart(tmp_path, "now").when == "now"
    assert depart(tmp_path, "after-round").when == "now"
    take_part_again(tmp_path)
    assert depart(tmp_path, "after-round").when == first.when


def test_a_file_that_cannot_be_read_keeps_the_site_away(tmp_path):
    (tmp_path / DEPARTURE).write_text("leave, please")
    assert departure(tmp_path).when == "after-round"


def test_whether_there_is_a_wish_that_cannot_be_told_is_an_error_and_keeps_the_site_away(tmp_path):
    (tmp_path / DEPARTURE).mkdir()
    with pytest.raises(StorageError, match=f"{DEPARTURE}: cannot be read"):
        departure(tmp_path)
    with pytest.raises(StorageError, match=DEPARTURE):
        take_part_again(tmp_path)
    told = Told()
    with obeyed(tmp_path, told):
        while not told.heard:
            assert not told.stopped.wait(0.05)
    assert told.heard == [True]
    assert "departure" not in {thread.name for thread in threading.enumerate()}


def test_that_a_wish_is_taken_back_is_on_the_disk(tmp_path, monkeypatch):
    depart(tmp_path, "now")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    take_part_again(tmp_path)
    assert synced == [str(tmp_path)]


class Told:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.stopped = threading.Event()

    def leave(self, wanted: bool) -> None:
        if not self.heard or self.heard[-1] != wanted:
            self.heard.append(wanted)

    def stop_now(self) -> None:
        self.stopped.set()


def test_whoever_obeys_is_told_within_a_second_of_a_wish_and_of_a_stronger_one(tmp_path):
    told = Told()
    depart(tmp_path, "after-round")
    with obeyed(tmp_path, told):
        while told.heard != [True]:
            assert not told.stopped.wait(0.05)
        take_part_again(tmp_path)
        while told.heard != [True, False]:
            assert not told.stopped.wait(0.05)
        depart(tmp_path, "now")
        assert told.stopped.wait(5)


class Flag:
    """A wish to stop that is never expressed."""

    is_set = False

    def __init__(self, directory) -> None:
        self.directory = directory
        self.waits = 0

    def wait(self, seconds) -> None:
        self.waits += 1
        if self.waits == 2:
            take_part_again(self.directory)


def test_a_site_that_left_waits_until_it_is_wanted_again(tmp_path):
    depart(tmp_path, "now")
    flag = Flag(tmp_path)
    wait_until_wanted(tmp_path, flag)
    assert flag.waits == 2
