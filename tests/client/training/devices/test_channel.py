"""Messages between two processes: whole, in order, and within a bound of time whatever the other side does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from sealora_client.training.devices.channel import Channel, ChannelClosedError


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    (read, written), (read_back, written_back) = os.pipe(), os.pipe()
    here, there = Channel(read_back, written), Channel(read, written_back)
    yield here, there
    for end in (here, there):
        try:
            end.close()
        except OSError:
            continue  # a test has closed it


def test_messages_larger_than_a_pipe_come_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    here, there = ends
    sent = [np.arange(size) for size in (0, 1, 300_000, 5)]
    sender = threading.Thread(target=lambda: [here.send(array, 10.0) for array in sent])
    sender.start()
    for array in sent:
        found = there.receive(10.0)
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, array)
        found += 1  # nobody else's memory
    sender.join()
    assert not there.has_message()


def test_nobody_is_waited_for_longer_than_was_said(ends: tuple[Channel, Channel]) -> None:
    here, there = ends
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        there.receive(0.2)
    with pytest.raises(TimeoutError):
        here.send(bytes(1 << 20), 0.2)  # more than a pipe holds, and nobody reads
    with pytest.raises(TimeoutError):
        there.receive(0.2)  # of which only a part is there
    assert 0.6 <= time.monotonic() - started < 5.0


def test_an_end_is_noticed_in_the_midst_of_a_message_too(ends: tuple[Channel, Channel]) -> None:
    here, there = ends
    with pytest.raises(TimeoutError):
        here.send(bytes(1 << 20), 0.05)
    here.close()
    assert there.has_message()
    with pytest.raises(ChannelClosedError):
        there.receive(None)
    with pytest.raises(ChannelClosedError):
        there.send("anybody?", None)
