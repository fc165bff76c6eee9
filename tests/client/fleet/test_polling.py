from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sealora_client.fleet.polling import Backoff, PollInterval


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(0, 1e6))
def test_a_poll_is_late_by_a_tenth_of_what_was_waited_and_never_by_more_than_the_longest_pause(waited):
    clock = Clock()
    interval = PollInterval(shortest=0.2, longest=5.0, share=0.1, clock=clock)
    clock.now += waited
    assert 0.2 <= interval.pause() <= 5.0
    assert interval.pause() <= max(0.2, waited / 10) * (1 + 1e-12)


def test_a_site_polls_fast_after_a_message_and_slowly_when_idle():
    clock = Clock()
    interval = PollInterval(shortest=0.2, longest=5.0, share=0.1, clock=clock)
    polls = 0
    while clock.now < 60:
        clock.now += interval.pause()
        polls += 1
    assert 30 <= polls <= 60  # where a fixed 0.2 s would be 300
    assert interval.pause() == 5.0
    interval.active()
    assert interval.pause() == 0.2


def test_attempts_come_half_as_often_each_time_until_the_longest_pause():
    pauses = [Backoff(first=1.0, longest=8.0)]
    taken = [pauses[0].pause() for _ in range(8)]
    for pause, full in zip(taken, [1, 2, 4, 8, 8, 8, 8, 8], strict=True):
        assert full / 2 <= pause <= full
    pauses[0].reset()
    assert pauses[0].pause() <= 1.0


def test_no_two_sites_come_back_in_step():
    assert len({Backoff().pause() for _ in range(50)}) > 20
