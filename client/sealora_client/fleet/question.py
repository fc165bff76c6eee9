"""A question that the server may hold, asked in a thread of its own: a wish to stop need not wait for the answer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Generic, TypeVar

from sealora_client.fleet.errors import LostConnectionError
from sealora_client.fleet.stop import StopFlag

Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """One question, on its way. It is to be waited for: that closes its descriptor.

    Args:
        ask: asks it.

    Raises:
        LostConnectionError: it cannot be asked now, for want of descriptors or threads.
    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._is_there = threading.Event()
        with ExitStack() as opened:
            try:
                self._read, self._write = os.pipe()
                opened.callback(os.close, self._read)
                opened.callback(os.close, self._write)
                threading.Thread(target=self._run, name="question", daemon=True).start()
            except (OSError, RuntimeError) as error:
                raise LostConnectionError(
                    f"this machine lets the site open no further descriptor or thread ({error}): raise the limit of "
                    "its service (LimitNOFILE, TasksMax), or end what takes them up"
                ) from None
            opened.pop_all()

    def wait(self, stop: StopFlag) -> Answer | None:
        """The answer, or what asking raised; None as soon as `stop` is set, and the answer is lost then. Once."""
        try:
            while not self._is_there.is_set() and not stop.is_set:
                stop.wait(None, self._read)
        finally:
            os.close(self._read)
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._answer
        finally:
            # An error holds the frames it went through, and these hold it: all that came with it would stay.
            del error

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except BaseException as error:
            self._error = error
        finally:
            self._is_there.set()
            os.close(self._write)  # the other end can be read from then on
