"""A wish to stop, which a signal handler may express."""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

log = logging.getLogger(__name__)

_LONGEST_POLL = 2**31 - 1
"""Milliseconds."""
_AT_ONCE = 0.01


class StopFlag:
    """Like `threading.Event`, but setting it takes no lock: the handler of a signal that arrives while the same
    thread holds the event's lock would wait for itself for ever.

    Attributes:
        is_set: whether it was set.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def set(self) -> None:
        """Sets it for good, and ends all waiting."""
        self.is_set = True
        with suppress(BlockingIOError):  # the pipe is full of wishes already
            os.write(self._write, b"\0")

    def give_up(self) -> None:
        """Sets it; what is in hand is not waited for either, where something can end it (`stop_on_signals`)."""
        self.set()

    def wait(self, seconds: float | None, other: int | None = None) -> None:
        """Waits until it is set, for so long at most, or until the `other` descriptor can be read from."""
        if not self.is_set:
            poll = select.poll()  # `select.select` breaks on the 1025th descriptor
            for descriptor in (self._read,) if other is None else (self._read, other):
                poll.register(descriptor, select.POLLIN)
            poll.poll(None if seconds is None else min(1000 * seconds, _LONGEST_POLL))

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)


class StopNow(BaseException):
    """Raised into the loop from outside when the message in hand is to be given up."""


class _SignalledStop(StopFlag):
    """One whose process has a handler that raises StopNow at SIGALRM."""

    def __init__(self, grace: float) -> None:
        super().__init__()
        self._again = max(grace, 0.5)

    def give_up(self) -> None:
        self.set()
        signal.setitimer(signal.ITIMER_REAL, _AT_ONCE, self._again)


@contextmanager
def stop_on_signals(grace: float) -> Iterator[StopFlag]:
    """SIGTERM, SIGINT and SIGHUP, which comes when a terminal is closed, stop the loop after the message in hand; what
    is not done in `grace` seconds is given up. A SIGHUP that is ignored, as under nohup(1), stays so.
    """
    wish = _SignalledStop(grace)

    def stop(_number: int, _frame: FrameType | None) -> None:
        wish.set()
        # Again and again: each attempt to say goodbye gets as long, and then ends too.
        signal.setitimer(signal.ITIMER_REAL, max(grace, 0.01), max(grace, 0.5))

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise StopNow

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGALRM: give_up}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        handlers[signal.SIGHUP] = stop
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield wish
    except StopNow:
        log.info("stopped without a goodbye to the server")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in former.items():
            signal.signal(number, handler)
        # Or the interpreter's last collection of garbage walks through all of torch, for a second.
        gc.freeze()
