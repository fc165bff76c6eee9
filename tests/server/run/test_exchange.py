"""Whose answer is whose: by what was asked, never by what the answer says of itself."""

from __future__ import annotations

import itertools
import time

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode

from sealora_common.round.wire_format import Action
from sealora_server.run.exchange import LONGEST_REASON, exchange, one_line

from pure_sites import PureGrid, node_error, pure_federation, pure_recipe, refusal

RECIPE = pure_recipe()


@pytest.fixture
def grid():
    _, sites = pure_federation(RECIPE, 3)
    for site in sites.values():
        site.answer = lambda action, content, name=site.name: RecordDict(
            {"config": ConfigRecord({"payload": name.encode()})}
        )
    return PureGrid(sites)


def ask(grid, timeout=5.0):
    replies, errors = {}, {}
    silent = exchange(
        grid,
        Action.HELLO,
        dict.fromkeys(grid.sites, RecordDict({"config": ConfigRecord({})})),
        timeout=timeout,
        on_reply=lambda node, content: replies.setdefault(node, content.config_records["config"]["payload"]),
        on_error=errors.setdefault,
    )
    return replies, errors, silent


def test_every_answer_is_that_of_the_node_that_was_asked(grid):
    assert ask(grid) == ({11: b"site-0", 12: b"site-1", 13: b"site-2"}, {}, set())


def test_an_answer_in_another_node_s_name_is_its_sender_s_own(grid):
    def pose(site, action, reply):
        if site == "site-2":
            reply.metadata.__dict__["_src_node_id"] = 11
        return reply

    grid.tamper = pose
    replies, errors, silent = ask(grid)
    assert replies == {11: b"site-0", 12: b"site-1", 13: b"site-2"}
    assert (errors, silent) == ({}, set())


def test_an_answer_to_nothing_that_was_asked_is_passed_over(grid):
    def stray(site, action, reply):
        if site == "site-2":
            reply.metadata.__dict__["_reply_to_message_id"] = "something else"
        return reply

    grid.tamper = stray
    replies, errors, silent = ask(grid, timeout=0.2)
    assert replies == {11: b"site-0", 12: b"site-1"}
    assert errors == {13: "no answer within 0 s"}
    assert silent == {13}


def test_a_second_answer_to_the_same_question_is_passed_over(grid):
    pull = grid.pull_messages

    def twice(message_ids):
        return [reply for reply in pull(message_ids) for _ in range(2)]

    grid.pull_messages = twice
    seen = []
    exchange(
        grid,
        Action.HELLO,
        dict.fromkeys(grid.sites, RecordDict({"config": ConfigRecord({})})),
        timeout=5.0,
        on_reply=lambda node, content: seen.append(node),
        on_error=lambda node, reason: seen.append(reason),
    )
    assert sorted(seen) == [11, 12, 13]


def test_a_message_that_flower_did_not_take_is_not_waited_for(grid):
    push = grid.push_messages

    def all_but_one(messages: list[Message]) -> list[str]:
        return push(messages)[:-1]  # the shorter list that Flower's in-memory grid gives

    grid.push_messages = all_but_one
    started = time.monotonic()
    replies, errors, silent = ask(grid)
    assert time.monotonic() - started < 2
    assert replies == {11: b"site-0", 12: b"site-1"}
    assert silent == set(errors) == {13}


class Clock:
    """Time passes when somebody sleeps, or when a test says so."""

    def __init__(self):
        self.time = 0.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds


def ask_at(clock, grid, timeout):
    silent = []
    exchange(
        grid,
        Action.HELLO,
        dict.fromkeys(grid.sites, RecordDict({"config": ConfigRecord({})})),
        timeout=timeout,
        on_reply=lambda node, content: None,
        on_error=lambda node, reason: silent.append(node),
        now=lambda: clock.time,
        sleep=clock.sleep,
    )
    return silent


def test_who_does_not_answer_is_asked_less_and_less_and_yet_twice_a_second(grid):
    clock = Clock()
    grid.tamper = lambda site, action, reply: None
    assert ask_at(clock, grid, 60.0) == [11, 12, 13]
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[0] < 0.05
    assert clock.slept[-1] == 0.5
    assert 60.0 <= clock.time <= 60.5


def test_an_answer_is_followed_by_a_question_at_once_and_by_short_pauses_again(grid):
    clock = Clock()
    pull = grid.pull_messages
    answers = {}

    def slow(message_ids):
        for reply in pull(message_ids):
            answers[reply.metadata.reply_to_message_id] = reply
        due = 10.0 * (4 - len(message_ids))  # the next one comes ten seconds after the last
        return [answers.pop(next(iter(answers)))] if clock.time >= due else []

    grid.pull_messages = slow
    assert ask_at(clock, grid, 60.0) == []
    restarts = [now for before, now in itertools.pairwise(clock.slept) if now < before]
    assert restarts == [clock.slept[0]] * 2
    assert 0.0 not in clock.slept
    assert sum(clock.slept) == pytest.approx(clock.time)


def test_a_grid_that_waits_itself_is_not_left_alone_besides(grid):
    clock = Clock()

    def waits(message_ids):
        clock.time += 1.0
        return []

    grid.pull_messages = waits
    ask_at(clock, grid, 5.0)
    assert set(clock.slept) == {0.0}


def test_requests_are_made_and_sent_a_few_at_a_time():
    """An adapter for each of a thousand sites would not fit into memory."""
    _, sites = pure_federation(RECIPE, 3)
    grid = PureGrid(dict.fromkeys(range(11, 51), sites[11]))
    pushed = []
    push = grid.push_messages
    grid.push_messages = lambda messages: (pushed.append(len(messages)), push(messages))[1]
    ask(grid)
    assert pushed == [16, 16, 8]


@pytest.mark.parametrize("code", [ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE])
def test_what_flower_says_of_a_message_whose_time_is_up_is_silence(grid, code):
    grid.tamper = lambda site, action, reply: node_error(reply, "x", code) if site == "site-2" else reply
    replies, errors, silent = ask(grid)
    assert replies == {11: b"site-0", 12: b"site-1"}
    assert (errors, silent) == ({13: "no answer within 5 s"}, {13})


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (ErrorCode.MESSAGE_UNAVAILABLE, "the message to the site was lost, as when the SuperLink is restarted"),
        (ErrorCode.REPLY_MESSAGE_UNAVAILABLE, "the message to the site was lost, as when the SuperLink is restarted"),
        (
            ErrorCode.NODE_UNAVAILABLE,
            "the site is gone: it has given no sign of life for a minute; start it again",
        ),
        (ErrorCode.CLIENT_APP_CRASHED, "the site's Flower node reported: last line"),
    ],
)
def test_flower_s_errors_in_time_are_told_in_a_sentence(grid, code, said):
    grid.tamper = lambda site, action, reply: node_error(reply, "x\nlast line", code) if site == "site-2" else reply
    replies, errors, silent = ask(grid, timeout=60.0)
    assert replies == {11: b"site-0", 12: b"site-1"}
    assert (errors, silent) == ({13: said}, set())


@pytest.mark.parametrize(
    ("reason", "said"), [("", "no reason given"), ("\n \n", "no reason given"), ("x\n last line \n  \n", "last line")]
)
def test_of_a_trace_the_last_line_that_says_something_is_told(grid, reason, said):
    grid.tamper = lambda site, action, reply: node_error(reply, reason) if site == "site-2" else reply
    assert ask(grid)[1] == {13: f"the site's Flower node reported: {said}"}


@pytest.mark.parametrize("fails", [refusal, node_error])
def test_what_a_site_says_of_a_failure_is_one_printable_line_of_bounded_length(grid, fails):
    said = "no\x1b[2J" + "\u202ex" * 100_000
    grid.tamper = lambda site, action, reply: fails(reply, said) if site == "site-2" else reply
    _, errors, _ = ask(grid)
    assert len(errors[13]) == LONGEST_REASON
    assert errors[13].isprintable()


def test_a_sentence_is_kept_word_for_word_if_it_is_one():
    for sentence in ("the order is for round 3: it was refused", "x" * LONGEST_REASON, "ümläut, 日本"):
        assert one_line(sentence) == sentence
    assert one_line("a\n  b\tc\x00") == "a b c"
    assert one_line("x" * (LONGEST_REASON + 1)) == "x" * (LONGEST_REASON - 3) + "..."
    assert one_line("a" + " " * 10_000 + "b") == "a..."


def test_a_narrow_grid_is_sent_no_more_than_it_holds_and_all_in_the_end(grid):
    push, pull, held, most = grid.push_messages, grid.pull_messages, set(), []

    def pushed(messages):
        ids = push(messages)
        held.update(ids)
        most.append(len(held))
        return ids

    def pulled(message_ids):
        replies = list(pull(list(message_ids)[:1]))
        held.difference_update(reply.metadata.reply_to_message_id for reply in replies)
        return replies

    grid.push_messages, grid.pull_messages, grid.most_pending = pushed, pulled, 2
    assert ask(grid) == ({11: b"site-0", 12: b"site-1", 13: b"site-2"}, {}, set())
    assert max(most) == 2


def test_who_was_not_sent_to_in_time_did_not_answer(grid):
    clock = Clock()
    grid.most_pending = 1
    grid.tamper = lambda site, action, reply: None
    assert ask_at(clock, grid, 60.0) == [11, 12, 13]
