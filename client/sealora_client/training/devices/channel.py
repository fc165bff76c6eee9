"""Messages between a site's process and a worker of its own, over two pipes that nobody else has an end of."""

from __future__ import annotations

import os
import pickle  # nosec B403 # between two processes of one program, see `receive`
import select
import struct
import time

_LENGTH = struct.Struct("<Q")
_PIECE = 1 << 20


class ChannelClosedError(Exception):
    """The other side has ended, or its end of the pipe has."""


class Channel:
    """Sends and receives whole messages, each within a bound of time.

    Args:
        source: descriptor that is read from; owned from now on.
        target: descriptor that is written to; owned from now on.
    """

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        for descriptor in (source, target):
            os.set_blocking(descriptor, False)

    def send(self, message: object, seconds: float | None) -> None:
        """Sends a message.

        Args:
            message: of `messages`.
            seconds: that the other side has to take all of it; None for as long as it takes.

        Raises:
            ChannelClosedError: there is no other side any more.
            TimeoutError: it did not take it in time. The channel is of no use then.
        """
        content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        ends = _end(seconds)
        for part in (_LENGTH.pack(len(content)), content):
            left = memoryview(part)
            while left:
                _wait(self._target, select.POLLOUT, ends)
                try:
                    left = left[os.write(self._target, left[:_PIECE]) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise ChannelClosedError from None

    def receive(self, seconds: float | None) -> object:
        """The next message.

        Args:
            seconds: within which all of it must be here; None for as long as it takes.

        Raises:
            ChannelClosedError: there is no other side any more.
            TimeoutError: it is not here in time. The channel is of no use then.
        """
        ends = _end(seconds)
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, ends))
        content = self._read(length, ends)
        message: object = pickle.loads(content)  # noqa: S301  # nosec B301 # written by this program's other process
        return message

    def has_message(self) -> bool:
        """Whether a message, or the channel's end, is there to be received."""
        return bool(_poll(self._source, select.POLLIN, 0.0))

    def close(self) -> None:
        """Closes this side, which the other side will find."""
        for descriptor in (self._source, self._target):
            os.close(descriptor)

    def _read(self, size: int, ends: float | None) -> bytearray:
        content = bytearray(size)
        left = memoryview(content)
        while left:
            _wait(self._source, select.POLLIN, ends)
            try:
                got = os.readv(self._source, [left[:_PIECE]])
            except BlockingIOError:
                continue
            except OSError:
                raise ChannelClosedError from None
            if not got:
                raise ChannelClosedError
            left = left[got:]
        return content


def _end(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _wait(descriptor: int, event: int, ends: float | None) -> None:
    if not _poll(descriptor, event, None if ends is None else max(0.0, ends - time.monotonic())):
        raise TimeoutError


def _poll(descriptor: int, event: int, seconds: float | None) -> list[tuple[int, int]]:
    poll = select.poll()
    poll.register(descriptor, event)
    return poll.poll(None if seconds is None else 1000 * seconds)
