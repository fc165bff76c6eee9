"""Data that grows, shrinks or changes goes on spending the same budget, and units of privacy are not mixed."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_client.data.fingerprint import DataSet
from sealora_client.ledger import Ledger
from sealora_client.ledger.members import KeyedMembers, new_member_key
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld

from ledger_runs import DELTA, ROUND, SITE, bodies, charge, composed, persons, records, spend

KEY = new_member_key()
names = st.sets(st.sampled_from("abcdefgh"), min_size=1)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "ledger.sqlite", SITE) as opened:
        yield opened


@pytest.mark.parametrize(
    "changed",
    [("a", "b", "c"), ("a",), ("a", "x"), ("x", "y", "z", "b")],
    ids=["grown", "shrunk", "one changed", "nearly all changed"],
)
def test_changed_data_goes_on_where_it_stood(ledger: Ledger, changed: tuple[str, ...]) -> None:
    spend(ledger, 1, dataset=records("a", "b"), limit=composed(2))
    after = records(*changed)
    assert ledger.spent(after, DELTA) == pytest.approx(composed(1))
    assert ledger.rounds_left(after, ROUND, DELTA, composed(2)) == 1
    assert spend(ledger, 2, dataset=after, limit=composed(2)).epsilon_after == pytest.approx(composed(2))
    for dataset in (records("a", "b"), after):
        assert ledger.spent(dataset, DELTA) == pytest.approx(composed(2))
        with pytest.raises(BudgetError, match="no round of this kind fits any more"):
            charge(ledger, 3, dataset=dataset, limit=composed(2))


def test_data_without_a_common_member_starts_afresh(ledger: Ledger) -> None:
    charge(ledger, 1, dataset=records("a", "b"))
    other = records("c")
    assert ledger.spent(other, DELTA) == 0
    assert ledger.charges(other) == []
    assert charge(ledger, 1, dataset=other).epsilon_after == pytest.approx(composed(1))
    assert ledger.spent(records("a", "b"), DELTA) == pytest.approx(composed(1))


def test_a_window_that_slid_on_leaves_old_charges_behind_and_one_that_joins_two_has_both(ledger: Ledger) -> None:
    for window in ("ab", "bc", "cd"):
        charge(ledger, 1, dataset=records(*window))
    assert ledger.spent(records(*"ab"), DELTA) == pytest.approx(composed(2))  # ab, bc
    assert ledger.spent(records(*"bc"), DELTA) == pytest.approx(composed(3))
    assert ledger.spent(records(*"de"), DELTA) == pytest.approx(composed(1))
    assert ledger.spent(records(*"ad"), DELTA) == pytest.approx(composed(2))  # ab, cd
    assert ledger.spent(records(*"abcd"), DELTA) == pytest.approx(composed(3))


@settings(max_examples=25)
@given(st.lists(st.tuples(names, st.integers(1, 3)), min_size=1, max_size=5))
def test_no_member_has_lost_more_than_its_data_set_is_said_to_have_spent(tmp_path_factory, charges) -> None:
    """The rule's promise, member by member: for each, the charges of exactly those data sets that it was in."""
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite") as ledger:
        lost: dict[str, list[PrivacyEvent]] = {}
        for number, (members, steps) in enumerate(charges):
            event = PrivacyEvent(1.0, 0.05, steps)
            charge(ledger, number, dataset=records(*members), event=event, limit=math.inf)
            for member in members:
                lost.setdefault(member, []).append(event)
        for members, _ in charges:
            spent = ledger.spent(records(*members), DELTA)
            assert spent >= max(epsilon_pld(lost[member], DELTA) for member in members) - 1e-12


def test_a_limit_holds_for_every_member_in_whatever_order_overlapping_data_are_charged(tmp_path: Path) -> None:
    for number, order in enumerate(itertools.permutations(["ab", "bc", "ca"])):
        lost: dict[str, int] = {}
        with Ledger(tmp_path / f"{number}.sqlite") as ledger:
            for members in order:
                for round_number in (1, 2):
                    try:
                        spend(ledger, round_number, dataset=records(*members), limit=composed(3))
                    except BudgetError:
                        continue
                    for member in members:
                        lost[member] = lost.get(member, 0) + 1
        assert max(lost.values()) == 3


def test_a_round_taken_up_with_other_data_is_charged_anew(ledger: Ledger) -> None:
    first = charge(ledger, 1, dataset=records("a"))
    second = charge(ledger, 1, dataset=records("a", "b"))
    assert second.id != first.id
    assert second.epsilon_after == pytest.approx(composed(2))


def test_the_run_s_own_promise_counts_every_state_of_its_data(ledger: Ledger) -> None:
    order = {"run": "run-1", "event": ROUND, "delta": DELTA, "epsilon_limit": 1000.0}
    first = ledger.charge(dataset=records("a"), round_number=1, run_epsilon_limit=composed(1), **order)
    ledger.mark_released(first.id)
    with pytest.raises(BudgetError, match="run run-1 has spent"):
        ledger.charge(dataset=records("a", "b"), round_number=2, run_epsilon_limit=composed(1), **order)


# Persons


def test_a_record_more_of_the_same_person_is_no_fresh_budget(ledger: Ledger) -> None:
    charge(ledger, 1, dataset=persons(p1=["a"], p2=["b"]))
    grown = persons(p1=["a", "c"], p2=["b"])
    assert grown.fingerprint != persons(p1=["a"], p2=["b"]).fingerprint
    assert ledger.spent(grown, DELTA) == pytest.approx(composed(1))
    assert ledger.spent(persons(p1=["x", "y"]), DELTA) == pytest.approx(composed(1))  # other records of one of them
    assert ledger.spent(persons(p3=["x"]), DELTA) == 0


def test_persons_whose_records_read_alike_are_still_other_persons(ledger: Ledger) -> None:
    charge(ledger, 1, dataset=persons(p1=["a"]))
    assert ledger.spent(persons(p2=["a"]), DELTA) == 0


def test_units_of_privacy_are_not_mixed_on_shared_records(ledger: Ledger) -> None:
    by_record, by_person = records("a", "b"), persons(p1=["b", "c"])
    charge(ledger, 1, dataset=by_record)
    before = bodies(ledger.path)
    for ask in (
        lambda: charge(ledger, 2, dataset=by_person),
        lambda: ledger.spent(by_person, DELTA),
        lambda: ledger.rounds_left(by_person, ROUND, DELTA, 8.0),
    ):
        with pytest.raises(BudgetError, match="guarantees for records and for persons cannot be composed") as refused:
            ask()
        assert "\n" not in str(refused.value)
    assert bodies(ledger.path) == before
    charge(ledger, 2, dataset=persons(p1=["c", "d"]))  # no record in common: nothing to mix


def test_units_of_privacy_are_not_mixed_the_other_way_round(ledger: Ledger) -> None:
    charge(ledger, 1, dataset=persons(p1=["a", "b"]))
    with pytest.raises(BudgetError, match=r"is to be charged by record, but .* which was charged by person"):
        charge(ledger, 2, dataset=records("b", "x"))


# What is kept of the members


def test_members_are_kept_as_eight_bytes_under_a_key_of_the_ledger(ledger: Ledger) -> None:
    dataset = records("a", "b", "c")
    charge(ledger, 1, dataset=dataset)
    connection = ledger._journal._connection
    ((members, beside),) = connection.execute("SELECT members, records FROM members").fetchall()
    assert (len(members), beside) == (3 * 8, b"")
    assert not any(digest[:8] in members or digest[7::-1] in members for digest in dataset.members)


def test_two_ledgers_keep_the_same_member_differently(tmp_path: Path) -> None:
    kept = []
    for name in ("one", "two"):
        with Ledger(tmp_path / f"{name}.sqlite", SITE) as ledger:
            charge(ledger, 1, dataset=records("a"))
            kept.append(ledger._journal._connection.execute("SELECT members FROM members").fetchone())
    assert kept[0] != kept[1]


@given(names, names, st.booleans(), st.booleans())
def test_overlap_is_found_exactly(one: set[str], other: set[str], first: bool, second: bool) -> None:
    """Records by their text, persons by their name; across the two by the text alone."""

    def dataset(members: set[str], by_person: bool) -> DataSet:
        return persons(**{f"p{name}": [name] for name in members}) if by_person else records(*members)

    left, right = (KeyedMembers.of(dataset(m, p), KEY) for m, p in ((one, first), (other, second)))
    assert left.overlaps(right) == right.overlaps(left) == bool(one & other)


@given(names, st.booleans())
def test_members_come_back_from_their_bytes(members: set[str], by_person: bool) -> None:
    dataset = persons(p=sorted(members)) if by_person else records(*members)
    keyed = KeyedMembers.of(dataset, KEY)
    back = KeyedMembers.from_bytes(keyed.unit, keyed.members_bytes, keyed.records_bytes)
    assert back.digest == keyed.digest
    assert back.overlaps(keyed)


def test_a_fingerprint_stands_for_one_set_of_members(ledger: Ledger) -> None:
    """It follows from the content; one that does not must not lead to another data set's books."""
    charge(ledger, 1, dataset=records("a"))
    stranger = records("z")
    forged = DataSet(records("a").fingerprint, "record", stranger.members, stranger.records)
    with pytest.raises(BudgetError, match="with other members"):
        charge(ledger, 2, dataset=forged)


def test_the_data_sets_are_listed_with_what_they_are(ledger: Ledger) -> None:
    charge(ledger, 1, dataset=records("a", "a", "b"))
    charge(ledger, 1, dataset=persons(p1=["x", "y"], p2=["z"]))
    listed = ledger.datasets()
    assert [(row.unit, row.size) for row in listed] == [("record", 3), ("person", 2)]
    assert [row.fingerprint for row in listed] == [
        records("b", "a", "a").fingerprint,
        persons(p1=["y", "x"], p2=["z"]).fingerprint,
    ]
