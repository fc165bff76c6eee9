"""A run's receipts, checked as anybody with the roster checks them, a little at a time, and again where one changes."""

from __future__ import annotations

import time
from pathlib import Path

from sealora_common.errors import SealoraError
from sealora_common.receipts.check import RoundProof, check_chain
from sealora_common.receipts.receipt import Receipt
from sealora_common.roster import Roster
from sealora_server.dashboard.facts import ChainFacts, ReceiptFacts
from sealora_server.dashboard.file_version import FileVersion, file_version
from sealora_server.run.store import RunStore


class ReceiptWatch:
    """Holds what the receipts in a run's directory prove.

    Args:
        directory: the run's.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._store: RunStore | None = None
        self._checked: list[tuple[FileVersion, Receipt, ReceiptFacts]] = []
        self._roster: FileVersion | None = None
        self.facts = ChainFacts()

    def look(self, seconds: float, finished: int = 0) -> ChainFacts:
        """What the receipts prove, as far as could be checked in about so many seconds; the next look goes on.

        Args:
            seconds: see above.
            finished: rounds that are finished, as the run's events tell: each has left a receipt.
        """
        try:
            self.facts = self._looked(time.monotonic() + seconds, finished)
        except SealoraError as error:
            self._checked = []
            self.facts = ChainFacts(problem=str(error))
        return self.facts

    def _looked(self, until: float, finished: int) -> ChainFacts:
        identity, rounds = self._directory / "run.json", self._directory / "rounds"
        if not identity.exists():  # a run that was begun keeps it beside its rounds
            has_rounds = next(rounds.glob("[0-9]*"), None) is not None
            return ChainFacts(problem=f"{identity} is missing: restore it from a backup" if has_rounds else "")
        store = self._store = self._store or RunStore.open(self._directory)
        count = store.finished_rounds
        versions = [file_version(store.receipt_path(number)) for number in range(1, count + 1)]
        roster = file_version(self._directory / "roster.json")
        if roster != self._roster:
            self._roster, self._checked = roster, []
        same = 0
        while same < min(count, len(self._checked)) and self._checked[same][0] == versions[same]:
            same += 1
        del self._checked[same:]
        problem = ""
        while len(self._checked) < count and time.monotonic() < until and not problem:
            problem = self._check_next(store, versions[len(self._checked)])
        if not problem and count < finished:
            missing = store.round_directory(count + 1)
            problem = f"{count} of {finished} finished rounds are there: restore {missing} from a backup"
        return ChainFacts(tuple(facts for _, _, facts in self._checked), count, problem)

    def _check_next(self, store: RunStore, version: FileVersion) -> str:
        """Checks one more; why it does not hold, or nothing."""
        number = len(self._checked) + 1
        try:
            receipt = store.receipt(number)
            roster = Roster.load(self._directory / "roster.json")
            rosters = store.rosters.with_kept(
                {roster.hash.hex(): roster}, {receipt.roster_hash}, coordinator=roster.coordinator_pin
            )
            after = self._checked[-1][1] if self._checked else None
            (proof,) = check_chain([receipt], rosters, after=after, run=store.run_id, recipe=store.recipe)
        except SealoraError as error:
            return str(error)
        self._checked.append((version, receipt, _facts(proof)))
        return ""


def _facts(proof: RoundProof) -> ReceiptFacts:
    receipt = proof.receipt
    return ReceiptFacts(receipt.round_number, len(proof.confirmed), proof.needed, receipt.adapter_digest)
