"""Those who ask, one after another: the model answers one, and a bounded number wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from sealora_client.model.generate import Continuation
from sealora_client.trained.answers import Answers
from sealora_client.trained.serving.requests import Inquiry
from sealora_client.trained.serving.settled import SettledText, before_stop
from sealora_common.errors import ModelError, SealoraError

log = logging.getLogger(__name__)
MOST_WAITING = 8


class BusyError(SealoraError):
    """As many wait as may."""


@dataclass(frozen=True)
class AnswerBegun:
    """This inquiry is answered now, and the template takes it.

    Attributes:
        tokens: of what is asked, the template's included.
    """

    tokens: int


Said = AnswerBegun | str | Continuation
"""What comes of an inquiry: that it is answered now, then parts of the answer as they come, then the whole of it."""


class ModelQueue:
    """The line before one model. Used from one event loop; the model works in a thread of its own.

    Args:
        answers: the model's.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._inside = 0

    async def ask(self, inquiry: Inquiry) -> AsyncGenerator[Said | None]:
        """What comes of it; None now and then while nothing does. Whoever stops listening ends the answer.

        Raises:
            BusyError: too many are waiting.
            SealoraError: it cannot be answered.
        """
        if self._inside > MOST_WAITING:
            raise BusyError(f"{MOST_WAITING} questions wait already: ask again later")
        loop = asyncio.get_running_loop()
        said: asyncio.Queue[Said | SealoraError] = asyncio.Queue()
        unwanted = threading.Event()

        def tell(what: Said | SealoraError) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever asked
                loop.call_soon_threadsafe(said.put_nowait, what)

        self._inside += 1
        work = loop.run_in_executor(self._thread, self._answer, inquiry, unwanted, tell)
        work.add_done_callback(self._leave)
        try:
            while True:
                try:
                    what = await asyncio.wait_for(said.get(), 1.0)
                except TimeoutError:
                    yield None
                    continue
                if isinstance(what, SealoraError):
                    raise what
                yield what
                if isinstance(what, Continuation):
                    return
        finally:
            unwanted.set()

    def close(self) -> None:
        """Waits until the model has come to rest; nobody may be asking any more."""
        self._thread.shutdown()

    def _leave(self, work: asyncio.Future[None]) -> None:
        self._inside -= 1
        work.exception()  # there is none: it was told

    def _answer(self, inquiry: Inquiry, unwanted: threading.Event, tell: Callable[[Said | SealoraError], None]) -> None:
        if unwanted.is_set():
            return
        try:
            self._go_on(inquiry, unwanted, tell)
        except SealoraError as error:
            tell(error)
        except Exception as error:  # whatever torch raises: no memory, say
            log.error("an inquiry could not be answered (%s)", type(error).__name__)
            tell(ModelError("the model failed on this: ask for less, or look into what the server has logged"))

    def _go_on(self, inquiry: Inquiry, unwanted: threading.Event, tell: Callable[[Said | SealoraError], None]) -> None:
        tokens = self._answers.asked(inquiry.turns)
        tell(AnswerBegun(len(tokens)))
        settled = SettledText(inquiry.stops)

        def hear(text: str) -> bool:
            text, is_over = before_stop(text.lstrip(), inquiry.stops)
            further = "" if is_over else settled.grown(text)
            if further:
                tell(further)
            return not is_over and not unwanted.is_set()

        made = self._answers.go_on(tokens, inquiry.most_tokens, inquiry.sampling, hear)
        text = before_stop(made.text, inquiry.stops)[0].rstrip()
        rest = settled.ended(text)
        if rest:
            tell(rest)
        tell(replace(made, text=text))
