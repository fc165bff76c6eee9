"""Threads and ledgers that share one file."""

from __future__ import annotations

import itertools
import math
import threading
from pathlib import Path

import pytest

from sealora_client.ledger import Ledger, journal
from sealora_client.ledger.head import Head, read_head
from sealora_common.errors import BudgetError

from ledger_runs import DATA, DELTA, SITE, charge, composed, spend, states


def test_threads_sharing_a_ledger_do_not_overspend(path: Path) -> None:
    with Ledger(path, SITE) as ledger:
        results: list[bool] = []

        def work(number: int) -> None:
            try:
                spend(ledger, number, limit=composed(3))
                results.append(True)
            except BudgetError:  # there was no room, or another thread's charge took it
                results.append(False)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        released = [row for row in ledger.charges() if row.released is not None]
        assert len(released) == sum(results) == 3
        ledger.verify()


def test_two_ledgers_on_one_file_see_each_other_s_charges(path: Path) -> None:
    with Ledger(path, SITE) as one, Ledger(path, SITE) as other:
        made = charge(one, 1)
        assert other.spent(DATA, DELTA) == pytest.approx(composed(1))
        other.mark_released(made.id)
        assert states(one) == ["released"]
        charge(one, 2)
        assert one.verify() == other.verify()


def test_another_process_s_charges_while_the_ledger_is_opened_or_verified_raise_no_alarm(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes between reading the head and reading the entries, the head must not seem to run ahead."""
    with Ledger(path, SITE) as other:
        rounds = itertools.count(1)

        def charged_meanwhile(ledger: Path) -> Head | None:
            charge(other, next(rounds), limit=math.inf)
            return read_head(ledger)

        monkeypatch.setattr(journal, "read_head", charged_meanwhile)
        with Ledger(path, SITE) as ledger:
            ledger.verify()
            assert len(ledger.charges()) == 2
