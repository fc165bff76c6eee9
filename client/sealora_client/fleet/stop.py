"""A wish to stop, which a signal handler may express."""

from __future__ import annotations

import os
import select
from contextlib import suppress

_LONGEST_POLL = 2**31 - 1
"""Milliseconds."""


class Stop:
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
