from __future__ import annotations

import numpy as np
import pytest

from sealora_client.audit.bounds import epsilon_lower_bound
from sealora_client.audit.guessing import best_guesses, guess_plans, perfect_guesses


def telling_scores(included, generator, gap):
    return generator.normal(size=len(included)) + gap * included


def test_the_numbers_of_guesses_follow_from_the_number_of_canaries_alone():
    assert guess_plans(1000) == ((62, 0), (62, 62), (125, 0), (125, 125), (250, 0), (250, 250))
    assert guess_plans(3) == ((1, 0), (1, 1))


def test_no_plan_guesses_a_canary_both_in_and_out():
    for canaries in range(2, 200):
        assert all(sum(plan) <= canaries for plan in guess_plans(canaries))


def test_high_scores_are_guessed_in_and_low_ones_out():
    included = np.array([True] * 40 + [False] * 40)
    scores = np.arange(80.0)[::-1]
    found = best_guesses(scores, included, delta=0.0, significance=0.05)
    assert found.correct == found.guessed_in + found.guessed_out == 40
    assert found.lower_bound == perfect_guesses(80, delta=0.0, significance=0.05).lower_bound > 1
    assert best_guesses(-scores, included, delta=0.0, significance=0.05).lower_bound == 0.0


def test_right_guesses_are_counted_at_both_ends():
    included = np.zeros(16, dtype=bool)
    included[[0, 1, 2, 15]] = True  # by falling score: the plan (4, 4) is right about 3 above and 3 below
    ranked = best_guesses(-np.arange(16.0), included, delta=0.0, significance=0.9)
    assert (ranked.guessed_in, ranked.guessed_out, ranked.correct) in {(1, 0, 1), (2, 0, 2), (4, 0, 3), (4, 4, 6)}


def test_out_guesses_are_left_out_where_they_prove_nothing():
    """Half of those that are in were never sampled, and look as if they were out."""
    generator = np.random.default_rng(0)
    included = generator.random(800) < 0.5
    seen = included & (generator.random(800) < 0.5)
    found = best_guesses(telling_scores(seen, generator, 20.0), included, delta=0.0, significance=0.05)
    assert (found.guessed_in, found.guessed_out) == (100, 0)
    assert found.correct == 100


def test_the_best_of_several_plans_is_paid_for():
    """Without a correction for choosing, the best of six would be too high far more often than one is."""
    generator = np.random.default_rng(2)
    too_high = 0
    for _ in range(2000):
        included = generator.random(64) < 0.5
        found = best_guesses(generator.normal(size=64), included, delta=0.0, significance=0.2)
        too_high += found.lower_bound > 0
    assert too_high / 2000 <= 0.2


def test_a_plan_s_bound_is_that_of_its_share_of_the_significance():
    included = np.array([True] * 40 + [False] * 40)
    found = best_guesses(-np.arange(80.0), included, delta=1e-3, significance=0.06)
    alone = epsilon_lower_bound(canaries=80, guesses=40, correct=40, delta=1e-3, significance=0.01)
    assert found.lower_bound == alone


def test_ties_are_no_knowledge():
    generator = np.random.default_rng(4)
    bounds = [
        best_guesses(np.zeros(400), generator.random(400) < 0.5, delta=0.0, significance=0.05).lower_bound
        for _ in range(200)
    ]
    assert np.mean(np.array(bounds) > 0) <= 0.06


@pytest.mark.parametrize(("scores", "coins"), [(3, 4), (1, 1)])
def test_scores_that_do_not_fit_are_refused(scores, coins):
    with pytest.raises(ValueError, match="scores"):
        best_guesses(np.zeros(scores), np.zeros(coins, dtype=bool), delta=0.0, significance=0.05)
