"""The verdict: what came out, whether the test could have seen it, and what a promise does and does not exclude."""

from __future__ import annotations

import pytest
from linear_sites import recipe_of

NONE: dict[int, float] = {}
HALF = {1: 0.25, 4: 0.75}
PERSONS = {"person_field": "patient"}


def test_nothing_more_came_out_and_the_control_bites(run_test, leaking):
    found, _ = run_test(leaking(NONE, HALF, NONE), recipe_of())
    assert found.standing == "no more extracted"
    assert found.verdict == (
        "No attack got more planted personal data out than of data that nobody trained on, within the 95 % interval. "
        "Trained without privacy, the same model told 50 % of it to whoever asked."
    )
    assert found.traces == ()


@pytest.mark.parametrize(
    ("share", "standing"), [({1: 0.0, 4: 1 / 3}, "too weak"), ({1: 0.0, 4: 5 / 12}, "no more extracted")]
)
def test_a_control_that_does_not_bite_says_nothing_and_how_to_do_better(run_test, leaking, share, standing):
    # 4 of 24 are below a fifth, 5 are above.
    found, _ = run_test(leaking(NONE, share, NONE), recipe_of())
    assert found.standing == standing
    assert ("This test was too weak to say anything: even without privacy 17 %" in found.verdict) is (
        standing == "too weak"
    )
    assert ("take more rounds" in found.verdict) is (standing == "too weak")


def test_a_control_that_tells_as_much_of_data_that_was_held_back_does_not_bite(run_test, leaking):
    found, _ = run_test(leaking(NONE, HALF, NONE, others=0.4), recipe_of())
    assert found.of_control.told.planted.share == 0.5
    assert found.standing == "too weak"


def test_what_comes_out_is_told_whatever_the_control_did(run_test, leaking):
    found, _ = run_test(leaking(NONE, NONE, {1: 0.5, 4: 1.0}), recipe_of())
    assert found.standing == "more extracted"
    assert "by asking by name and giving the record's beginning: 75 % of it was told" in found.verdict
    assert "That holds of data planted once as well" in found.verdict


def test_where_only_copies_come_out_it_says_so(run_test, leaking):
    found, _ = run_test(leaking(NONE, HALF, {1: 0.0, 4: 1.0}), recipe_of())
    assert found.standing == "more extracted"
    assert "Of data planted once alone it is not told apart; copies weaken the promise" in found.verdict
    found, _ = run_test(leaking(NONE, HALF, {4: 1.0, 8: 1.0}), recipe_of(name="others"), repeats=(4, 8), out="b")
    assert "All of it was planted several times" in found.verdict


def test_a_recipe_without_privacy_is_told_as_one(run_test, leaking):
    found, _ = run_test(leaking(NONE, HALF), recipe_of(privacy={"mechanism": "none"}))
    assert found.standing == "more extracted"
    assert found.verdict.endswith("The recipe is without privacy: do not hand the adapter out.")
    found, _ = run_test(leaking(NONE, NONE), recipe_of(privacy={"mechanism": "none"}), out="b")
    assert found.standing == "too weak"


def test_traces_that_get_nothing_out_are_told_and_are_no_extraction(run_test, leaking):
    found, _ = run_test(leaking(NONE, HALF, NONE, gain=1.0), recipe_of())
    assert found.standing == "no more extracted"
    assert found.traces == ("membership",)
    assert "Yet planted records can be told from others, by membership inference, which epsilon" in found.verdict


def test_repeats_that_the_control_does_not_give_away_are_named(run_test, leaking):
    found, _ = run_test(leaking(NONE, {1: 0.0, 4: 1.0}, NONE), recipe_of())
    assert any(
        "Of data planted 1 times even training without privacy gave less than 20 % away" in n for n in found.notes
    )


def test_the_promise_for_so_many_records_stands_beside_what_was_found(run_test, leaking):
    once, four = run_test(leaking(NONE, HALF, NONE), recipe_of())[0].of_recipe.repeats
    assert (once.epsilon, four.epsilon) == (8.0, 32.0)
    assert 0 < once.allowed_told < 0.01
    assert four.allowed_told == 1.0
    assert (once.drawn, four.drawn) == pytest.approx((0.3, 1.2))


def test_a_promise_that_bounds_nothing_is_noted_and_persons_keep_theirs(run_test, leaking):
    found, _ = run_test(leaking(NONE, HALF, NONE), recipe_of())
    assert any("Of somebody with 4 records it bounds nothing" in note for note in found.notes)
    found, _ = run_test(leaking(NONE, HALF, NONE), recipe_of(data=PERSONS), out="b")
    assert {group.epsilon for group in found.of_recipe.repeats} == {8.0}
    assert not any("bounds nothing" in note for note in found.notes)


def test_every_kind_of_datum_has_its_share(run_test, leaking):
    found, _ = run_test(leaking(NONE, HALF, NONE), recipe_of())
    kinds = found.of_control.kinds
    assert [kind.kind for kind in kinds] == ["name", "birth date", "telephone number", "record number"]
    assert sum(kind.told.found for kind in kinds) == found.of_control.told.planted.found == 12


def test_an_arm_that_has_diverged_is_told_and_is_no_evidence(run_test, leaking):
    found, _ = run_test(leaking(NONE, NONE, NONE, gain=float("nan")), recipe_of())
    assert found.standing == "too weak"
    assert found.of_control.membership is None
    assert any(note.startswith("federated, no privacy has diverged") for note in found.notes)
