"""A form does what it is for once, however often it is sent: a double click, a reload and a replay are told what came
of it the first time."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sealora_common.web.sessions import Session

_MOST = 1000
_BYTES = 16


@dataclass(frozen=True)
class FormOutcome:
    """What came of a form.

    Attributes:
        is_done: whether it did what it is for.
        sentence: what is told, as the command line would.
        to: the page that shows it now.
    """

    is_done: bool
    sentence: str
    to: str = "/"


class Forms:
    """The forms that were sent, and what came of each: the last thousand, of all sessions, until the process ends."""

    def __init__(self) -> None:
        self._outcomes: OrderedDict[tuple[str, str], asyncio.Task[FormOutcome]] = OrderedDict()

    @staticmethod
    def new() -> str:
        """What tells one form of a page from all others."""
        return secrets.token_hex(_BYTES)

    @staticmethod
    def is_one(form: str) -> bool:
        """Whether `form` reads like what `new` makes."""
        return len(form) == 2 * _BYTES and form.isalnum() and form.isascii()

    async def sent(self, session: Session, form: str, do: Callable[[], Awaitable[FormOutcome]]) -> FormOutcome:
        """What comes of a form: `do` is called if it was not sent before, and goes on if whoever sent it goes away."""
        key = (session.csrf, form)
        if key not in self._outcomes:
            self._drop_ended()
            self._outcomes[key] = asyncio.create_task(_awaited(do))
        return await asyncio.shield(self._outcomes[key])

    def outcome(self, session: Session, form: str) -> FormOutcome | None:
        """What came of one that was sent before."""
        task = self._outcomes.get((session.csrf, form))
        return task.result() if task is not None and task.done() else None

    def _drop_ended(self) -> None:
        for key in [key for key, task in self._outcomes.items() if task.done()][
            : max(0, len(self._outcomes) - _MOST + 1)
        ]:
            del self._outcomes[key]


async def _awaited(do: Callable[[], Awaitable[FormOutcome]]) -> FormOutcome:
    return await do()
