"""A question that the server may hold, asked in a thread of its own: a wish to stop need not wait for the answer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from sealora_client.fleet.stop import Stop

Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """One question, on its way.

    Args:
        ask: asks it.
    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._is_there = threading.Event()
        self._read, self._write = os.pipe()
        threading.Thread(target=self._run, name="question", daemon=True).start()

    def wait(self, stop: Stop) -> Answer | None:
        """The answer, or what asking raised; None as soon as `stop` is set, and the answer is lost then."""
        try:
            while not self._is_there.is_set() and not stop.is_set:
                stop.wait(None, self._read)
        finally:
            os.close(self._read)
        if self._error is not None:
            raise self._error
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except BaseException as error:
            self._error = error
        finally:
            self._is_there.set()
            os.close(self._write)  # the other end can be read from then on
