"""A question leaves nothing behind, whatever comes of it, and a wish to stop ends the waiting at once."""

from __future__ import annotations

import gc
import os
import resource
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fleet_server import wait_until

from sealora_client.fleet import question
from sealora_client.fleet.errors import LostConnectionError
from sealora_client.fleet.question import Question
from sealora_client.fleet.stop import StopFlag

MANY = 1000


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> int:
    return sum(thread.name == "question" for thread in threading.enumerate())


def fails() -> int:
    raise LostConnectionError("no")


@pytest.mark.parametrize("ask", [lambda: 1, fails])
def test_a_thousand_questions_leave_no_descriptor_and_no_thread(ask: Callable[[], int]) -> None:
    stop = StopFlag()
    before = descriptors()
    for _ in range(MANY):
        with suppress(LostConnectionError):
            assert Question(ask).wait(stop) == 1
    wait_until(lambda: threads() == 0)
    assert descriptors() <= before


def test_a_thousand_abandoned_ones_leave_none_once_their_answers_come() -> None:
    stop, come = StopFlag(), threading.Event()
    before = descriptors()
    stop.set()
    for _ in range(MANY // 10):  # each has its thread until then
        assert Question(come.wait).wait(stop) is None
    assert descriptors() <= before + MANY // 10
    come.set()
    wait_until(lambda: threads() == 0)
    assert descriptors() <= before


def test_what_came_with_a_failure_is_let_go_at_once() -> None:
    class Body:
        pass

    seen: list[weakref.ref[Body]] = []

    def ask() -> None:
        body = Body()
        seen.append(weakref.ref(body))
        raise LostConnectionError("no")

    gc.disable()
    try:
        with suppress(LostConnectionError):
            Question(ask).wait(StopFlag())
        wait_until(lambda: threads() == 0)
        assert seen[0]() is None
    finally:
        gc.enable()


def test_a_wish_to_stop_ends_the_waiting_though_the_answer_never_comes() -> None:
    stop, never = StopFlag(), threading.Event()
    threading.Timer(0.1, stop.set).start()
    assert Question(never.wait).wait(stop) is None
    never.set()


def test_it_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Question(lambda: threading.current_thread().daemon).wait(StopFlag())
    assert seen is True


def test_without_threads_it_is_a_failure_like_another_and_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = descriptors()
    monkeypatch.setattr(question.threading.Thread, "start", start)
    with pytest.raises(LostConnectionError, match="no further descriptor or thread"):
        Question(lambda: 1)
    assert descriptors() <= before


@pytest.fixture
def crowded() -> Iterator[list[int]]:
    """More descriptors than `select` knows of are open; those of the test's own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield opened
    for descriptor in opened:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_site_with_more_than_a_thousand_descriptors_asks_and_pauses(crowded: list[int]) -> None:
    stop = StopFlag()
    assert Question(lambda: 1).wait(stop) == 1
    stop.wait(0.01)
    stop.wait(None, crowded[0])


def test_without_descriptors_it_is_a_failure_like_another(crowded: list[int]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(crowded) + 1, hard))
    with pytest.raises(LostConnectionError, match="no further descriptor or thread"):
        Question(lambda: 1)


def test_any_number_of_wishes_is_one_and_none_is_waited_for() -> None:
    stop = StopFlag()
    for _ in range(70_000):  # a pipe takes 65,536
        stop.set()
    stop.wait(None)
    assert stop.is_set


def test_a_pause_may_be_of_any_length_and_ends_with_the_wish() -> None:
    stop = StopFlag()
    threading.Timer(0.1, stop.set).start()
    stop.wait(1e12)
    assert stop.is_set


def test_a_wish_s_descriptors_go_with_it() -> None:
    before = descriptors()
    for _ in range(100):
        StopFlag()
    assert descriptors() <= before
