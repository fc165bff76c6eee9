from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.entropy import SeededEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity
from sealora_common.roster import Cosignature, Roster, SeenRosters, require_succession

COORDINATOR, ANOTHER = (Identity.create(name, SeededEntropy(name)) for name in ("coordinator", "another"))
SITES = {name: Identity.create(name, SeededEntropy(name)) for name in ("a", "b", "c", "d")}


def first(coordinator: Identity = COORDINATOR) -> Roster:
    return Roster.create("test", {name: site.public_key for name, site in SITES.items()}, coordinator)


def after(roster: Roster, without: str | None = None) -> Roster:
    """What the coordinator signs next: the same members, or without one."""
    changed = roster.draft() if without is None else roster.without_member(without)
    return changed.signed(COORDINATOR)


ONE = first()
TWO = after(ONE, without="a")
OTHER_TWO = after(ONE, without="b")
THREE = after(TWO)
OTHER_THREE = after(OTHER_TWO)
FOUR = after(THREE)


def seen(*rosters: Roster) -> SeenRosters:
    state = SeenRosters()
    for roster in rosters:
        state.require(roster)
        state = state.after(roster)
    return state


def test_rosters_are_taken_in_their_order_again_and_with_gaps():
    assert seen(ONE, ONE, TWO, TWO, THREE, FOUR).used == {ONE.coordinator_pin: 4}
    assert seen(ONE, FOUR, FOUR).used == {ONE.coordinator_pin: 4}
    assert seen(THREE).used == {ONE.coordinator_pin: 3}


@given(st.permutations([ONE, TWO, THREE, FOUR]))
def test_no_order_of_arrival_takes_an_older_roster(rosters):
    state, highest = SeenRosters(), 0
    for roster in rosters:
        if roster.sequence < highest:
            with pytest.raises(PolicyError, match="out of date"):
                state.require(roster)
        else:
            state.require(roster)
            state, highest = state.after(roster), roster.sequence


REFUSED = {
    "an older one": ((ONE, TWO), ONE, "this roster is number 1, and number 2 has been used here: it is out of date"),
    "a much older one": ((ONE, FOUR), TWO, "number 2, and number 4 has been used here: it is out of date"),
    "the other face": ((ONE, TWO), OTHER_TWO, "two faces: this roster is number 2 .*, and another of that number"),
    "the other face of a first": ((ONE,), after(ONE).model_copy(update={"sequence": 1}), "two faces"),
    "the other face's successor": ((ONE, TWO), OTHER_THREE, "number 3, follows a number 2 .* that is not the one used"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_roster_that_contradicts_those_used_is_refused_in_one_sentence(case):
    used, roster, said = REFUSED[case]
    with pytest.raises(PolicyError, match=f"roster.json: .*{said}") as caught:
        seen(*used).require(roster, "roster.json: ")
    assert "\n" not in str(caught.value)
    last = used[-1]
    with pytest.raises(PolicyError, match=said):
        require_succession(roster, last.sequence, last.hash.hex())


def test_co_signatures_make_no_other_roster():
    cosigned = TWO.with_cosignatures([Cosignature.create(SITES["c"], TWO.sequence, TWO.hash)])
    assert seen(ONE, TWO, cosigned) == seen(ONE, TWO)


def test_coordinators_are_remembered_apart():
    state = seen(ONE, TWO, first(ANOTHER))
    assert state.used == {ONE.coordinator_pin: 2, ANOTHER.pin: 1}
    with pytest.raises(PolicyError, match="out of date"):
        state.require(ONE)


def test_what_was_seen_is_read_as_it_was_written():
    state = seen(ONE, THREE)
    assert SeenRosters.model_validate_json(state.model_dump_json()) == state


@pytest.mark.parametrize(
    ("roster", "contradicts"),
    [(ONE, False), (TWO, False), (OTHER_TWO, True), (THREE, False), (OTHER_THREE, True), (FOUR, False)],
)
def test_a_member_s_receipt_contradicts_what_was_seen_if_its_roster_is_another_of_its_number(roster, contradicts):
    """Number 2 was never used here, but number 3 names it; of number 4 nothing is known."""
    state = seen(ONE, THREE)
    assert state.contradicts(roster.coordinator_pin, roster.sequence, roster.hash.hex()) is contradicts


def test_another_coordinator_s_roster_contradicts_nothing():
    assert not seen(ONE).contradicts(ANOTHER.pin, 1, "0" * 64)
