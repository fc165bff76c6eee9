"""The facts for everybody who looks: read anew when a file has changed, epsilons worked out in a thread meanwhile.

Nothing is read while nobody looks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sealora_client.dashboard.budget_facts import BudgetFacts
from sealora_client.dashboard.facts import PageFacts, read_composed, read_facts
from sealora_client.delivery.kept_run import RUNS
from sealora_client.fleet.session_record import SESSION_RECORD
from sealora_client.ledger import LEDGER
from sealora_client.operator.at_work import AT_WORK
from sealora_client.operator.departure import DEPARTURE
from sealora_client.operator.kept_checks import CHECKS, DATA_CHECK, SITE_CHECK
from sealora_client.operator.sent_log import SENT_LOG
from sealora_client.site.process_lock import LOCK
from sealora_common.records.names import HISTORY
from sealora_common.storage.lock import is_locked

_OLDEST: Final = 5.0
"""Seconds: how the site's process is, no file tells."""
_FILES: Final = (
    *("site.yaml", "policy.yaml", "recipe.yaml", "roster.json", HISTORY, SENT_LOG, AT_WORK, DEPARTURE),
    *(SESSION_RECORD, RUNS, CHECKS, f"{CHECKS}/{SITE_CHECK}", f"{CHECKS}/{DATA_CHECK}", "receipts"),
)
_LEDGER_FILES: Final = (LEDGER, f"{LEDGER}-wal", "policy.yaml", RUNS)

Stamps = tuple[tuple[int, int], ...]

log = logging.getLogger(__name__)


class FactsReader:
    """Follows the site in `directory`. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._facts: PageFacts | None = None
        self._seen: object = None
        self._read_at = 0.0
        self._composed: tuple[Stamps, BudgetFacts | None] | None = None
        self._is_composing = False

    def facts(self) -> PageFacts:
        """As they are now; epsilons may still be None where the ledger has just changed."""
        with self._lock:
            ledger = tuple(self._stamps(_LEDGER_FILES))
            composed = self._composed
            if composed is None or composed[0] != ledger:
                self._begin_to_compose(ledger)
            known = None if composed is None or composed[0] != ledger else composed[1]
            seen = (ledger, *self._stamps(_FILES), is_locked(self._directory / LOCK), known is not None)
            if self._facts is None or seen != self._seen or time.monotonic() - self._read_at > _OLDEST:
                self._facts, self._seen, self._read_at = read_facts(self._directory, known), seen, time.monotonic()
            return self._facts

    def _begin_to_compose(self, stamps: Stamps) -> None:
        if not self._is_composing:
            self._is_composing = True
            threading.Thread(target=self._compose, args=(stamps,), name="epsilons", daemon=True).start()

    def _compose(self, stamps: Stamps) -> None:
        found = None
        try:
            found = read_composed(self._directory)
        except Exception as error:  # its text may quote anything
            log.error("what is spent could not be worked out (%s)", type(error).__name__)
        finally:
            self._composed, self._is_composing = (stamps, found), False

    def _stamps(self, names: tuple[str, ...]) -> Iterator[tuple[int, int]]:
        for name in names:
            try:
                status = (self._directory / name).stat()
            except OSError:
                yield 0, 0
            else:
                yield status.st_mtime_ns, status.st_size
