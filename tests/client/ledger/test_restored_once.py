"""After a restore nobody knows what has left: what leaves once only is not charged for a second time."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealora_client.ledger import Ledger
from sealora_client.ledger.export import export_ledger
from sealora_client.ledger.recovery import restore_ledger
from sealora_client.ledger.store import files_of
from sealora_common.errors import AlreadyReleasedError

from ledger_runs import DATA, DELTA, ROUND, SITE, charge


def charge_once(ledger: Ledger, round_number: int) -> int:
    return ledger.charge(
        dataset=DATA, run="run-1", round_number=round_number, event=ROUND, delta=DELTA, epsilon_limit=8.0, once=True
    ).id


def test_a_round_that_may_have_left_before_the_ledger_was_restored_gets_no_second_charge(tmp_path: Path) -> None:
    path, export = tmp_path / "site" / "ledger.sqlite", tmp_path / "export.jsonl"
    with Ledger(path, SITE) as ledger:
        charge(ledger, 1)
        assert charge_once(ledger, 1)  # nothing has left yet: taken up again
    export_ledger(path, SITE, export)
    for file in files_of(path):
        file.unlink(missing_ok=True)
    restore_ledger(export, path, SITE)
    with Ledger(path, SITE) as ledger:
        before = ledger.charges()
        with pytest.raises(AlreadyReleasedError, match="has released round 1 already, or may have"):
            charge_once(ledger, 1)
        assert ledger.charges() == before
        assert charge_once(ledger, 2)
