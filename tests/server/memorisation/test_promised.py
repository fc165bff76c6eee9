"""What the promise comes to for somebody with several records, and what it allows an attack."""

from __future__ import annotations

import math

import pytest
from linear_sites import recipe_of

from sealora_server.memorisation.promised import GroupPromise


def promise(epsilon: float, delta: float, repeats: int, person: str | None = None) -> GroupPromise:
    recipe = recipe_of(
        privacy={"mechanism": "local", "epsilon": epsilon, "delta": delta}, data={"person_field": person}
    )
    found = GroupPromise.of(recipe, repeats)
    assert found is not None
    return found


def test_one_record_has_the_recipe_s_promise():
    assert promise(3.0, 1e-5, 1) == GroupPromise(3.0, 1e-5)


def test_k_records_are_a_chain_of_k_neighbours():
    found = promise(0.5, 1e-5, 3)
    assert found.epsilon == 1.5
    assert found.delta == pytest.approx(1e-5 * (1 + math.exp(0.5) + math.exp(1.0)))


def test_soon_nothing_is_promised_any_more():
    assert promise(8.0, 1e-5, 4).delta == 1.0
    assert promise(8.0, 1e-5, 1000) == GroupPromise(8000.0, 1.0)


def test_where_persons_are_protected_the_number_of_their_records_changes_nothing():
    assert promise(3.0, 1e-5, 16, person="patient") == GroupPromise(3.0, 1e-5)


def test_without_privacy_there_is_none():
    assert GroupPromise.of(recipe_of(privacy={"mechanism": "none"}), 1) is None


def test_a_guess_is_right_no_oftener_than_the_promise_allows():
    found = GroupPromise(2.0, 1e-3)
    assert found.allowed_told([1000], tries=2) == pytest.approx(math.exp(2.0) * 2 / 1000 + 1e-3)
    assert found.allowed_told([1000, 2], tries=2) == pytest.approx((math.exp(2.0) * 2 / 1000 + 1e-3 + 1) / 2)
    assert GroupPromise(8000.0, 1.0).allowed_told([10**8], tries=2) == 1.0


def test_at_epsilon_8_true_positives_are_bounded_by_hardly_anything():
    assert f"{100 * GroupPromise(8.0, 1e-4).allowed_true_positives():.2f}" == "99.97"  # docs/memorisation.md
    assert GroupPromise(0.0, 0.0).allowed_true_positives() == pytest.approx(0.01)
