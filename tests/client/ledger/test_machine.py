"""Any sequence of charges, releases, settlements and reopenings does what a few lines of Python say it does."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sealora_client.ledger import Ledger
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld

from ledger_runs import DELTA, SITE, charge, records

EVENTS = [PrivacyEvent(1.0, 0.05, 10), PrivacyEvent(2.0, 0.1, 5)]
LIMIT = epsilon_pld([EVENTS[0]] * 3, DELTA)
DATASETS = {members: records(*members) for members in ("a", "ab", "bc", "d")}


@dataclass
class Paid:
    """One charge as the model has it."""

    members: str
    run: str
    round_number: int
    event: PrivacyEvent
    state: str = "open"


class LedgerMachine(RuleBasedStateMachine):
    """The ledger against a list of charges."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.ledger = Ledger(self.directory / "ledger.sqlite", SITE)
        self.paid: dict[int, Paid] = {}

    def rows(self, members: str) -> list[Paid]:
        return [paid for paid in self.paid.values() if set(paid.members) & set(members) and paid.state != "voided"]

    def against(self, members: str) -> list[PrivacyEvent]:
        return [paid.event for paid in self.rows(members)]

    @rule(
        members=st.sampled_from(sorted(DATASETS)),
        run=st.sampled_from(["run-1", "run-2"]),
        round_number=st.integers(1, 2),
        event=st.sampled_from(EVENTS),
    )
    def charge(self, members: str, run: str, round_number: int, event: PrivacyEvent) -> None:
        order = Paid(members, run, round_number, event)
        taken_up = next((number for number, paid in self.paid.items() if paid == order), None)
        in_the_way: list[Paid] = []
        left = [paid for paid in self.rows(members) if paid.state == "open"]
        while True:
            counted = [paid.event for paid in self.rows(members) if not any(paid is out for out in in_the_way)]
            after = epsilon_pld([*counted, *([] if taken_up else [event])], DELTA)
            if taken_up or after <= LIMIT + 1e-9 or not left:
                break
            in_the_way.append(left.pop(0))
        try:
            made = charge(self.ledger, round_number, dataset=DATASETS[members], run=run, event=event, limit=LIMIT)
        except BudgetError:
            assert taken_up is None
            assert after > LIMIT
            return
        assert abs(made.epsilon_after - after) < 1e-12
        if taken_up is None:
            assert after <= LIMIT + 1e-9
            assert made.id > max(self.paid, default=0)
            for paid in in_the_way:
                paid.state = "voided"
            self.paid[made.id] = order
        else:
            assert made.id == taken_up

    def close_one(self, data: st.DataObject, state: str) -> None:
        number = data.draw(st.sampled_from([*self.paid, 1, 10_000]))
        paid = self.paid.get(number)
        try:
            (self.ledger.mark_released if state == "released" else self.ledger.settle)(number)
        except BudgetError:
            assert paid is None or paid.state != "open"
            return
        assert paid is not None
        assert paid.state == "open"
        paid.state = state

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.close_one(data, "released")

    @precondition(lambda self: self.paid)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        self.close_one(data, "settled")

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.directory / "ledger.sqlite", SITE)

    @invariant()
    def the_books_agree(self) -> None:
        rows = self.ledger.charges()
        assert [(row.id, row.run, row.round_number, row.event) for row in rows] == [
            (number, paid.run, paid.round_number, paid.event) for number, paid in self.paid.items()
        ]
        for row, paid in zip(rows, self.paid.values(), strict=True):
            state = "open" if row.is_open else "released" if row.released else "settled" if row.settled else "voided"
            assert state == paid.state
        for members, dataset in DATASETS.items():
            assert abs(self.ledger.spent(dataset, DELTA) - epsilon_pld(self.against(members), DELTA)) < 1e-12

    def teardown(self) -> None:
        self.ledger.verify()
        self.ledger.close()
        shutil.rmtree(self.directory)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=5, stateful_step_count=25)


@pytest.mark.slow
class TestLedgerMachineForLong(TestLedgerMachine):
    settings = settings(max_examples=100, stateful_step_count=25)
