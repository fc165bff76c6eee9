"""A run is judged as a whole, before its first round and while it is under way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealora_client.budget.admission import Admission, admission, only_one_run, runs_in_lifetime
from sealora_client.data.fingerprint import DataSet
from sealora_client.ledger import Ledger
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import HEADROOM, PrivacyEvent, calibrate_noise, epsilon_pld
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe, parse_recipe

from ledger_runs import SITE, records

DELTA = 1e-3
TRAIN, HELDOUT = records("a", "b", "c"), records("x", "y")
LOCAL = ("training.steps_per_round=2",)
DISTRIBUTED = ("privacy.mechanism=distributed", "sealing.ring_bits=24", "training.steps_per_round=1")


def recipe(*overrides: str) -> Recipe:
    text = (
        "name: test\nrounds: 4\nmodel: {base: b}\ntraining: {sample_rate: 0.2}\nprivacy: {epsilon: 6, delta: 1.0e-3}\n"
    )
    return parse_recipe(text, overrides=overrides)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite", SITE) as opened:
        yield opened


def judged(
    ledger: Ledger, own: Recipe, *, limit: float = 8.0, run: str | None = None, train: DataSet = TRAIN
) -> Admission:
    return admission(ledger, SitePolicy(epsilon_limit=limit, delta_limit=DELTA), own, 3, train, HELDOUT, run)


def charge(
    ledger: Ledger, own: Recipe, event: PrivacyEvent, round_number: int, *, dataset: DataSet, run: str, limit: float
) -> None:
    made = ledger.charge(
        dataset=dataset,
        run=run,
        round_number=round_number,
        event=event,
        delta=own.privacy.delta,
        epsilon_limit=limit,
        run_epsilon_limit=own.privacy.epsilon,
    )
    ledger.mark_released(made.id)


def train(ledger: Ledger, own: Recipe, rounds: int, *, run: str, limit: float = 8.0) -> None:
    """Charges the next rounds of a run."""
    event = privacy_plan(own, 3).training.event
    begun = len([row for row in ledger.charges() if row.run == run])
    for number in range(begun + 1, begun + rounds + 1):
        charge(ledger, own, event, number, dataset=TRAIN, run=run, limit=limit)


def test_a_run_that_fits_is_admitted_with_what_it_will_cost(ledger: Ledger) -> None:
    own = recipe(*LOCAL)
    found = judged(ledger, own)
    assert found.refused is None
    trained, held_out = found.parts
    assert (trained.part, trained.rounds, trained.remaining) == ("train", 4, 4)
    assert (held_out.part, held_out.rounds, held_out.remaining) == ("heldout", 5, 5)
    for part, event in (
        (trained, privacy_plan(own, 3).training.event),
        (held_out, privacy_plan(own, 3).heldout.event),
    ):
        assert part.event == event
        whole = epsilon_pld([event] * part.rounds, DELTA)
        assert part.whole_run == part.after_run == pytest.approx(whole)
        assert 5.9 < part.whole_run <= 6.0 * (1 - HEADROOM)


def test_spare_rounds_are_judged_too(ledger: Ledger) -> None:
    trained, held_out = judged(ledger, recipe(*DISTRIBUTED, "privacy.spare_rounds=2")).parts
    assert (trained.remaining, held_out.remaining) == (6, 5)


def test_the_second_run_of_a_recipe_is_refused_before_its_first_round(ledger: Ledger) -> None:
    own = recipe(*LOCAL)
    train(ledger, own, 4, run="first")
    found = judged(ledger, own, run="second")
    trained = found.parts[0]
    fitting = trained.rounds_left
    assert 1 <= fitting < 4  # so the first round would have been trained, for nothing
    assert found.refused == (
        f"the train data would reach epsilon {trained.after_run:.4g} of 8: {fitting} of 4 training rounds fit"
    )
    assert judged(ledger, own, limit=16.0, run="second").refused is None


def test_held_out_records_are_judged_as_well(ledger: Ledger) -> None:
    own = recipe(*LOCAL)
    for number in range(1, 6):
        charge(ledger, own, privacy_plan(own, 3).heldout.event, number, dataset=HELDOUT, run="first", limit=8.0)
    assert "the heldout data would reach" in judged(ledger, own, run="second").refused
    assert judged(ledger, own, run="second").refused.endswith("of 5 evaluations fit")


@pytest.mark.parametrize("overrides", [LOCAL, (*DISTRIBUTED, "privacy.spare_rounds=2")])
def test_a_run_under_way_is_never_refused_for_what_it_charged_itself(
    ledger: Ledger, overrides: tuple[str, ...]
) -> None:
    """Its limit is the recipe's own epsilon, as in a simulation, and another run was before it."""
    own = recipe(*overrides)
    other = PrivacyEvent(20.0, 0.3, 7)
    charge(ledger, recipe(), other, 1, dataset=TRAIN, run="other", limit=8.0)
    event = privacy_plan(own, 3).training.event
    whole = dataclasses.replace(event, steps=event.steps * own.accounted_rounds)
    limit = epsilon_pld([other, whole], DELTA) / (1 - HEADROOM)
    # What would fit to the last digit leaves no room for a rounding, and is not admitted.
    assert "would reach" in judged(ledger, own, limit=limit * (1 - HEADROOM / 2), run="own").refused
    after = []
    for charged in range(own.accounted_rounds + 1):
        found = judged(ledger, own, limit=limit, run="own")
        assert found.refused is None
        assert found.parts[0].remaining == own.accounted_rounds - charged
        after.append(found.parts[0].after_run)
        if charged < own.accounted_rounds:
            train(ledger, own, 1, run="own", limit=limit)
    assert len(set(after)) == 1  # the same question every time
    assert judged(ledger, own, limit=limit, run="another").refused is not None


def test_a_thousand_rounds_admitted_are_charged_to_the_last(ledger: Ledger) -> None:
    own = recipe("rounds=1000", "training.steps_per_round=1", "training.evaluate_every=1000", "privacy.epsilon=1")
    assert judged(ledger, own, limit=1.0).refused is None
    event = privacy_plan(own, 3).training.event
    for steps in (1, 998, 1):
        charge(ledger, own, dataclasses.replace(event, steps=steps), 1, dataset=TRAIN, run="own", limit=1.0)
    with pytest.raises(BudgetError, match="no round of this kind fits any more"):
        charge(ledger, own, event, 2, dataset=TRAIN, run="own", limit=1.0)


def test_what_another_run_was_charged_for_and_never_sent_takes_no_room(ledger: Ledger) -> None:
    """A server that orders rounds and never collects them keeps no other run out."""
    own = recipe(*LOCAL)
    event = privacy_plan(own, 3).training.event
    assert event is not None
    for round_number in range(1, own.rounds + 1):
        ledger.charge(
            dataset=TRAIN,
            run="never collected",
            round_number=round_number,
            event=event,
            delta=DELTA,
            epsilon_limit=8.0,
        )
    assert judged(ledger, own, run="next").refused is None
    assert judged(ledger, own, run="next").parts[0].spent == 0.0
    assert judged(ledger, own, run="never collected").parts[0].charged == own.rounds


def test_what_somebody_else_spends_meanwhile_counts(ledger: Ledger) -> None:
    own = recipe(*LOCAL)
    train(ledger, own, 2, run="own")
    another = recipe("privacy.epsilon=50")
    charge(ledger, another, PrivacyEvent(0.5, 0.3, 4), 1, dataset=records("c", "d"), run="other", limit=100.0)
    assert "of 2 training rounds fit" in judged(ledger, own, run="own").refused


def test_charges_that_an_earlier_version_calibrated_by_rdp_compose_with_what_is_left(ledger: Ledger) -> None:
    own = recipe(*LOCAL)
    old = PrivacyEvent(calibrate_noise(6.0, DELTA, 0.2, 8, "rdp"), 0.2, 2)
    assert old.noise_multiplier > privacy_plan(own, 3).training.event.noise_multiplier
    for number in (1, 2):
        charge(ledger, own, old, number, dataset=TRAIN, run="own", limit=6.0)
    found = judged(ledger, own, limit=6.0, run="own")
    assert found.refused is None
    assert found.parts[0].remaining == 2
    left = dataclasses.replace(privacy_plan(own, 3).training.event, steps=4)
    assert found.parts[0].after_run == epsilon_pld([old, old, left], DELTA) < 6.0
    train(ledger, own, 2, run="own", limit=6.0)


def test_a_run_that_has_charged_more_than_its_recipe_allows_is_refused(ledger: Ledger) -> None:
    own = recipe(*LOCAL)
    loud = dataclasses.replace(privacy_plan(own, 3).training.event, noise_multiplier=0.5)
    ledger.charge(
        dataset=TRAIN, run="own", round_number=1, event=loud, delta=DELTA, epsilon_limit=100.0,
    )  # fmt: skip
    found = judged(ledger, own, limit=100.0, run="own").refused
    assert "of the 6 that the recipe promises, as the run has charged 1 of its 4 training rounds already" in found


def test_a_delta_that_the_data_do_not_permit_is_the_reason(ledger: Ledger) -> None:
    own = recipe("privacy.delta=0.4")
    assert "privacy.delta is 0.4 but must be below 1 / 3" in judged(ledger, own).refused
    own = recipe("privacy.delta=0.34")
    assert "must be below 1 / 3" in judged(ledger, own).refused


def test_held_out_records_bound_delta_too(ledger: Ledger) -> None:
    own = recipe("privacy.delta=0.3")
    few = SitePolicy(epsilon_limit=8.0, delta_limit=0.5)
    many = records(*(str(number) for number in range(9)))
    assert "below 1 / 9" in admission(ledger, few, own, 3, TRAIN, many).refused


def test_without_privacy_nothing_is_charged(ledger: Ledger) -> None:
    assert judged(ledger, recipe("privacy.mechanism=none")) == Admission((), None)
    assert runs_in_lifetime(recipe("privacy.mechanism=none"), 3, 8.0) is None


def test_how_often_a_recipe_may_run_over_a_lifetime_is_counted(ledger: Ledger) -> None:
    own = recipe(*LOCAL)
    assert [runs_in_lifetime(own, 3, limit) for limit in (5.9, 6.0, 8.0)] == [0, 1, 1]
    runs = runs_in_lifetime(own, 3, 15.0)
    for number in range(runs):
        assert judged(ledger, own, limit=15.0, run=str(number)).refused is None
        train(ledger, own, 4, run=str(number), limit=15.0)
        for evaluation in range(1, 6):
            heldout = privacy_plan(own, 3).heldout.event
            charge(ledger, own, heldout, evaluation, dataset=HELDOUT, run=str(number), limit=15.0)
    assert judged(ledger, own, limit=15.0, run="one more").refused is not None


def test_a_limit_that_allows_one_run_only_is_said_in_one_sentence() -> None:
    own = recipe(*LOCAL)
    assert only_one_run(own, 3, 8.0) == "epsilon_limit is 8 and this recipe spends 6: one run in this data's lifetime"
    assert only_one_run(own, 3, 5.0) is None
    assert only_one_run(own, 3, 15.0) is None
    assert only_one_run(recipe("privacy.mechanism=none"), 3, 8.0) is None
