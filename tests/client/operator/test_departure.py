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


def test_what_is_there_and_cannot_be_opened_is_a_wish_too(tmp_path):
    (tmp_path / DEPARTURE).mkdir()
    assert departure(tmp_path).when == "after-round"


def test_while_it_cannot_be_told_no_wish_is_taken_back_and_no_site_comes_back(tmp_path, monkeypatch):
    told, reads, read_twice = Told(), [], threading.Event()

    def unreadable(directory):
        reads.append(directory)
        if len(reads) == 2:
            read_twice.set()
        raise StorageError("too many open files")

    depart(tmp_path, "after-round")
    with obeyed(tmp_path, told):
        while told.heard != [True]:
            assert not told.stopped.wait(0.05)
        monkeypatch.setattr("sealora_client.operator.departure.departure", unreadable)
        assert read_twice.wait(5)
    assert told.heard == [True]

    class Ends(Flag):
        def wait(self, seconds) -> None:
            self.waits += 1
            self.is_set = self.waits == 3

    flag = Ends(tmp_path)
    wait_until_wanted(tmp_path, flag)
    assert flag.waits == 3


def test_of_two_who_say_it_at_once_the_stronger_wish_stays(tmp_path, monkeypatch):
    """The weaker one has looked, and not yet written, when the other says it."""
    stronger = threading.Thread(target=depart, args=(tmp_path, "now"))

    def slowly(directory):
        found = departure(directory)
        if threading.current_thread() is not stronger:
            stronger.start()
            stronger.join(timeout=0.2)
        return found

    monkeypatch.setattr("sealora_client.operator.departure.departure", slowly)
    depart(tmp_path, "after-round")
    stronger.join(timeout=10)
    assert departure(tmp_path).when == "now"


def test_a_wish_that_came_while_the_site_was_starting_is_obeyed_before_it_connects(tmp_path):
    depart(tmp_path, "now")
    told = Told()
    with obeyed(tmp_path, told):
        assert told.stopped.is_set()
