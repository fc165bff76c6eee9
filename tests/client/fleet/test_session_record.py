from __future__ import annotations

import os
import shutil

import pytest
from fleet_site import delivery

from sealora_client.fleet.session_record import SESSION_RECORD, SessionRecord

SERVER = "https://server.example"


def test_it_outlasts_the_process(tmp_path):
    first = SessionRecord(tmp_path, SERVER)
    first.opened(2**63 + 5)
    first.take(delivery(1).metadata)
    again = SessionRecord(tmp_path, SERVER)
    assert again.open_node == 2**63 + 5
    assert again.in_hand.message_id == delivery(1).metadata.message_id
    assert again.in_hand.message_type == "train"
    assert again.in_hand.dst_node_id == 7
    assert again.handled(delivery(1).metadata.message_id)
    assert not again.handled(delivery(2).metadata.message_id)


def test_what_is_answered_is_in_hand_no_more_but_still_handled(tmp_path):
    record = SessionRecord(tmp_path, SERVER)
    record.opened(1)
    record.take(delivery(1).metadata)
    record.done()
    record.closed()
    again = SessionRecord(tmp_path, SERVER)
    assert (again.in_hand, again.open_node) == (None, None)
    assert again.handled(delivery(1).metadata.message_id)


def test_it_forgets_what_is_long_past(tmp_path):
    record = SessionRecord(tmp_path, SERVER)
    for number in range(100):
        record.take(delivery(number).metadata)
    assert record.handled(delivery(99).metadata.message_id)
    assert not record.handled(delivery(3).metadata.message_id)
    assert (tmp_path / SESSION_RECORD).stat().st_size < 10_000


def test_one_of_another_server_says_nothing(tmp_path):
    SessionRecord(tmp_path, SERVER).opened(1)
    assert SessionRecord(tmp_path, "https://other.example").open_node is None


def test_one_of_another_machine_says_nothing_of_sessions(tmp_path):
    first = SessionRecord(tmp_path, SERVER)
    first.opened(1)
    first.take(delivery(1).metadata)
    again = SessionRecord(tmp_path, SERVER, host="elsewhere")
    assert (again.open_node, again.in_hand) == (None, None)
    assert again.handled(delivery(1).metadata.message_id)


def test_a_copy_of_a_directory_does_not_own_the_session_and_a_directory_that_is_opened_otherwise_does(tmp_path):
    original = tmp_path / "site"
    original.mkdir()
    first = SessionRecord(original, SERVER)
    first.opened(1)
    first.take(delivery(1).metadata)
    shutil.copytree(original, tmp_path / "copy")
    copy = SessionRecord(tmp_path / "copy", SERVER)
    assert (copy.open_node, copy.in_hand) == (None, None)
    assert copy.handled(delivery(1).metadata.message_id)
    (tmp_path / "link").symlink_to(original)
    for path in (tmp_path / "link", tmp_path / "copy" / ".." / "site"):
        assert SessionRecord(path, SERVER).open_node == 1
    # What takes the place of the original is another directory, too.
    original.rename(tmp_path / "former")
    shutil.copytree(tmp_path / "former", original)
    assert SessionRecord(original, SERVER).open_node is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"server": 1}', b"null"])
def test_a_damaged_one_is_done_without(tmp_path, content):
    (tmp_path / SESSION_RECORD).write_bytes(content)
    record = SessionRecord(tmp_path, SERVER)
    assert record.open_node is None
    record.opened(3)
    assert SessionRecord(tmp_path, SERVER).open_node == 3


def test_it_is_readable_by_its_owner_alone(tmp_path):
    SessionRecord(tmp_path, SERVER).opened(1)
    assert os.stat(tmp_path / SESSION_RECORD).st_mode & 0o777 == 0o600
