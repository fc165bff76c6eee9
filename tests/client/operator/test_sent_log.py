"""The log of what left: whole lines, bounded, and readable whatever a crash did to it; and where a site is at work."""

from __future__ import annotations

import pytest

from sealora_client.operator.at_work import AT_WORK, AtWork, tell_work, told_work
from sealora_client.operator.sent_log import SENT_BEFORE, SENT_LOG, SentLog, SentMessage
from sealora_common.errors import StorageError

RUN = "ab" * 16


def message(number: int, **changes) -> SentMessage:
    fields = {"at": "2026-01-01T00:00:00+00:00", "kind": "mask", "run": RUN, "round": number, "bytes": 100}
    return SentMessage(**(fields | changes))


def test_messages_come_back_in_order_for_this_account_alone(tmp_path):
    log = SentLog(tmp_path)
    for number in (1, 2):
        log.note(message(number))
    assert log.read().messages == (message(1), message(2))
    assert log.read().is_whole
    assert (tmp_path / SENT_LOG).stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_by_a_crash_is_passed_over_and_spoils_no_other(tmp_path):
    log = SentLog(tmp_path)
    log.note(message(1))
    with (tmp_path / SENT_LOG).open("a") as file:
        file.write('{"at":"2026')
    log.note(message(2))
    assert [each.round for each in log.read().messages] == [1, 2]


def test_it_does_not_grow_without_end_and_says_that_it_is_not_whole(tmp_path):
    log = SentLog(tmp_path, largest=1000)
    for number in range(1, 100):
        log.note(message(number))
    read = log.read()
    assert not read.is_whole
    assert read.messages[-1].round == 99
    sizes = [(tmp_path / name).stat().st_size for name in (SENT_LOG, SENT_BEFORE)]
    assert max(sizes) < 1200


def test_a_message_whose_log_cannot_be_begun_anew_is_said_so_before_it_leaves(tmp_path):
    log = SentLog(tmp_path, largest=1)
    log.note(message(1))
    (tmp_path / SENT_BEFORE).mkdir()
    with pytest.raises(StorageError, match=SENT_BEFORE):
        log.note(message(2))


def at_work(**changes) -> AtWork:
    fields = {"run": RUN, "recipe": "tiny", "rounds": 4, "round": 2, "purpose": "train", "stage": "mask"}
    return AtWork(**(fields | {"stage_began": 50.0, "round_began": 40.0} | changes))


def test_where_a_site_is_at_work_is_told_and_a_half_written_one_is_nothing(tmp_path):
    assert told_work(tmp_path) is None
    tell_work(tmp_path, at_work())
    assert told_work(tmp_path) == at_work()
    tell_work(tmp_path, at_work(recipe="of a longer name"))
    tell_work(tmp_path, at_work())
    assert told_work(tmp_path) == at_work()
    (tmp_path / AT_WORK).write_text((tmp_path / AT_WORK).read_text()[:20])
    assert told_work(tmp_path) is None


def test_that_it_cannot_be_told_stops_nobody(tmp_path):
    tell_work(tmp_path / "missing", at_work())
    (tmp_path / AT_WORK).symlink_to(tmp_path / "elsewhere")
    tell_work(tmp_path, at_work())
    assert not (tmp_path / "elsewhere").exists()


def test_time_left_follows_from_what_rounds_took():
    assert at_work().round_seconds_left(45.0) is None
    known = at_work(round_seconds=20.0)
    assert known.round_seconds_left(45.0) == 15.0
    assert known.run_seconds_left(45.0) == 15.0 + 2 * 20.0
    assert known.round_seconds_left(100.0) == 0.0
    assert at_work(round_seconds=20.0, purpose="evaluate", round=5).run_seconds_left(45.0) is None
