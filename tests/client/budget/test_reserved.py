"""What runs that have begun may yet charge is kept free for them: what they planned, for as long as they go on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealora_client.budget.admission import admission
from sealora_client.ledger import Ledger, journal
from sealora_client.site.policy import SitePolicy
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.recipe import parse_recipe

from ledger_runs import SITE, records

DELTA = 1e-3
TRAIN, HELDOUT = records("a", "b", "c"), records("x", "y")
RECIPE = parse_recipe(
    "name: test\nrounds: 4\nmodel: {base: b}\ntraining: {sample_rate: 0.2}\nprivacy: {epsilon: 6, delta: 1.0e-3}\n"
)
EVENT, OTHER = PrivacyEvent(20.0, 0.2, 2), PrivacyEvent(30.0, 0.2, 1)
NOW = datetime(2031, 1, 31, tzinfo=UTC)


class Clock:
    """The ledger's; it stands where it was set."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> str:
        return self.at.isoformat(timespec="milliseconds")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(journal, "now", made)
    return made


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite", SITE) as opened:
        yield opened


def charge(
    ledger: Ledger, round_number: int, *, event: PrivacyEvent = EVENT, run: str = "first", planned: int = 4
) -> int:
    return ledger.charge(
        dataset=TRAIN,
        run=run,
        round_number=round_number,
        event=event,
        delta=DELTA,
        epsilon_limit=8.0,
        planned=planned,
    ).id


def reserved(ledger: Ledger, run: str = "next") -> tuple[PrivacyEvent, ...]:
    """What the training records are kept free for, before `run`."""
    policy = SitePolicy(epsilon_limit=8.0, delta_limit=DELTA)
    return admission(ledger, policy, RECIPE, 3, TRAIN, HELDOUT, run, NOW).parts[0].reserved


def test_a_run_has_what_it_planned_less_what_it_has_charged(ledger: Ledger) -> None:
    for number in range(1, 4):
        ledger.mark_released(charge(ledger, number))
        assert reserved(ledger) == (EVENT.repeated(4 - number),)
    ledger.mark_released(charge(ledger, 4))
    assert reserved(ledger) == ()
    assert reserved(ledger, "first") == ()


def test_each_kind_of_charge_is_counted_by_itself(ledger: Ledger) -> None:
    ledger.mark_released(charge(ledger, 1))
    ledger.mark_released(charge(ledger, 1, event=OTHER, planned=2))
    assert set(reserved(ledger)) == {EVENT.repeated(3), OTHER}


def test_a_run_of_which_nothing_has_left_has_nothing(ledger: Ledger) -> None:
    made = charge(ledger, 1)
    assert reserved(ledger) == ()
    ledger.settle(made)
    assert reserved(ledger) == ()


def test_a_run_goes_on_as_long_as_its_last_charge_is_not_a_week_old(ledger: Ledger, clock: Clock) -> None:
    clock.at = NOW - timedelta(days=20)
    ledger.mark_released(charge(ledger, 1))
    clock.at = NOW - timedelta(days=8)
    ledger.mark_released(charge(ledger, 2))
    assert reserved(ledger) == ()
    clock.at = NOW - timedelta(days=6)
    ledger.mark_released(charge(ledger, 3))
    assert reserved(ledger) == (EVENT,)


def test_another_run_s_charge_does_not_keep_one_going(ledger: Ledger, clock: Clock) -> None:
    clock.at = NOW - timedelta(days=8)
    ledger.mark_released(charge(ledger, 1))
    clock.at = NOW
    ledger.mark_released(charge(ledger, 1, run="second", planned=1))
    assert reserved(ledger) == ()
