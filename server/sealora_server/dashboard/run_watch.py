"""One run's directory: read once, and then as it grows."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sealora_common.errors import SealoraError
from sealora_common.records.event_log import EventTail, Recorded
from sealora_common.records.events import SitesReady
from sealora_common.records.fold import fold, steps
from sealora_common.records.names import EVENTS
from sealora_common.records.run_state import RunState
from sealora_common.roster import Roster
from sealora_server.dashboard.facts import Condition, RunFacts
from sealora_server.dashboard.file_version import file_version
from sealora_server.dashboard.notices import run_notices
from sealora_server.dashboard.receipt_watch import ReceiptWatch
from sealora_server.dashboard.site_words import site_facts
from sealora_server.deployment.operator.messages import RunStatus
from sealora_server.deployment.runs.progress import progress_text
from sealora_server.deployment.runs.submission import OPERATION, Operation
from sealora_server.view.story import StoryLine, story

_TOLD = 400
"""Events of a log of any length that are told one by one; all of them are folded."""
_STORY_LINES = 40
_RECEIPT_SECONDS = 0.25
_UNREAD_SECONDS = 3.0


class RunWatch:
    """Facts of the run in `directory`. May be asked from several threads.

    Args:
        key: by which its page is asked.
        directory: the run's.
        clock: Unix seconds.
    """

    def __init__(self, key: str, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.key = key
        self.directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._tail = EventTail(directory / EVENTS)
        self._state = RunState()
        self._story: deque[StoryLine] = deque(maxlen=_STORY_LINES)
        self._receipts = ReceiptWatch(directory)
        self._roster_names: tuple[str, ...] = ()
        self._roster_version = (0, 0, 0)
        self._last: RunFacts | None = None
        self._begun = file_version(directory / "run.json")

    @property
    def is_still_there(self) -> bool:
        """Whether the directory holds the run that it did: one that was deleted may have a successor of its name."""
        return file_version(self.directory / "run.json") == self._begun

    def look(
        self, status: RunStatus | None = None, offline: frozenset[str] = frozenset(), *, with_receipts: bool = True
    ) -> RunFacts:
        """The run as it is now.

        Args:
            status: what the server tells of it, where one runs.
            offline: sites that are not connected to that server.
            with_receipts: whether to go on with checking them; else they are as they were.
        """
        with self._lock:
            return self._looked(status, offline, with_receipts)

    def glance(self, status: RunStatus | None = None, offline: frozenset[str] = frozenset()) -> RunFacts:
        """As `look`; a run whose events are being read for the first time is told of as such, without waiting."""
        if self._lock.acquire(timeout=_UNREAD_SECONDS if self._last is not None else 0.0):
            try:
                return self._looked(status, offline, False)
            finally:
                self._lock.release()
        return self._last or self._unread()

    def _looked(self, status: RunStatus | None, offline: frozenset[str], with_receipts: bool) -> RunFacts:
        self._read()
        now = self._clock()
        condition, said = self._condition(status)
        if with_receipts:
            self._receipts.look(_RECEIPT_SECONDS, self._state.rounds_finished)
        chain = self._receipts.facts
        is_over = condition not in ("running", "queued", "unapproved")
        away = offline if status is not None and condition == "running" else frozenset()
        self._last = RunFacts(
            key=self.key,
            directory=self.directory,
            condition=condition,
            said=said,
            state=self._state,
            sites=site_facts(self._state, now, is_over=is_over, offline=away),
            notices=run_notices(
                self._state, chain, condition, said, self.directory, now, is_told_of=status is not None
            ),
            chain=chain,
            story=tuple(reversed(self._story)),
            waiting_for=status.waiting_for if status is not None else () if is_over else self._state.waiting_for,
            read_at=now,
        )
        return self._last

    def _read(self) -> None:
        entries = self._tail.read()
        roster = self._roster() or self._state.roster or _first_sites(entries)
        if roster != self._state.roster:
            self._state = replace(self._state, roster=roster)
        told = max(0, len(entries) - _TOLD)
        self._state = fold(self._state, entries[:told])
        for step in steps(self._state, entries[told:]):
            self._state = step.after
            self._story.extend(story([step]))

    def _roster(self) -> tuple[str, ...]:
        """The roster's sites; those before where it cannot be read, which its receipts' check tells of."""
        path = self.directory / "roster.json"
        try:
            version = file_version(path)
            if version != self._roster_version:
                self._roster_names = Roster.load(path).names
                self._roster_version = version
        except SealoraError:
            pass
        return self._roster_names

    def _condition(self, status: RunStatus | None) -> tuple[Condition, str]:
        """What it does, and a sentence on where it is."""
        if status is not None:
            return status.condition, status.said
        state = self._state
        if state.ended is not None and not (self.directory / OPERATION).exists():
            return state.ended, progress_text(state)
        if (self.directory / OPERATION).exists():
            operation = Operation.load(self.directory)
            return operation.condition, operation.said or progress_text(state)
        return "running", progress_text(state)

    def _unread(self) -> RunFacts:
        return RunFacts(
            key=self.key,
            directory=self.directory,
            condition="reading",
            said="its events are being read",
            state=RunState(),
            sites=(),
            notices=(),
            chain=self._receipts.facts,
            story=(),
            waiting_for=(),
            read_at=self._clock(),
        )


def _first_sites(entries: Sequence[Recorded]) -> tuple[str, ...]:
    """Who took part at the beginning: for a log whose roster is not beside it any more."""
    return next((entry.event.sites for entry in entries if isinstance(entry.event, SitesReady)), ())
