from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sealora_client.audit.bounds import epsilon_lower_bound, p_value


def by_the_theorem(canaries, guesses, correct, accuracy, delta):
    """Thm 5.2 in rational arithmetic, term by term."""

    def exactly(k):
        return math.comb(guesses, k) * accuracy**k * (1 - accuracy) ** (guesses - k)

    beta = sum(exactly(k) for k in range(correct, guesses + 1))
    alpha = max(
        (Fraction(1, i) * sum(exactly(k) for k in range(correct - i, correct)) for i in range(1, correct + 1)),
        default=Fraction(0),
    )
    return min(Fraction(1), beta + 2 * canaries * delta * alpha)


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "published"),
    [
        (1000, 100, 75, 1e-4, 0.673),  # arXiv:2305.08846v1, Appendix D
        (100_000, 1510, 1439, 1e-5, 2.675),  # ibid., section 7, figure 11; printed without rounding
    ],
)
def test_the_bound_is_the_one_that_the_paper_prints(canaries, guesses, correct, delta, published):
    found = epsilon_lower_bound(canaries=canaries, guesses=guesses, correct=correct, delta=delta, significance=0.05)
    assert found == pytest.approx(published, abs=1e-3)


@pytest.mark.parametrize("delta", [Fraction(0), Fraction(1, 1000), Fraction(1, 20)])
@pytest.mark.parametrize(("guesses", "correct"), [(1, 1), (7, 4), (7, 7), (12, 9), (12, 0)])
def test_the_p_value_is_the_theorem_s_in_exact_arithmetic(guesses, correct, delta):
    accuracy = Fraction(4, 5)  # epsilon = log 4
    expected = by_the_theorem(20, guesses, correct, accuracy, delta)
    found = p_value(canaries=20, guesses=guesses, correct=correct, epsilon=math.log(4), delta=float(delta))
    assert found == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(("guesses", "correct"), [(10, 10), (50, 45), (200, 140), (1000, 990)])
def test_without_delta_it_is_the_lower_confidence_limit_of_a_success_probability(guesses, correct):
    """Clopper & Pearson 1934: a route that shares nothing with the theorem's sums."""
    limit = stats.beta.ppf(0.05, correct, guesses - correct + 1)
    found = epsilon_lower_bound(canaries=1000, guesses=guesses, correct=correct, delta=0.0, significance=0.05)
    assert found == pytest.approx(math.log(limit / (1 - limit)), abs=1e-6)


def test_guessing_no_better_than_chance_proves_nothing():
    for correct in (0, 30, 50, 55):
        assert epsilon_lower_bound(canaries=100, guesses=100, correct=correct, delta=0.0, significance=0.05) == 0.0


counts = st.integers(2, 400).flatmap(
    lambda guesses: st.tuples(st.just(guesses), st.integers(1, guesses), st.integers(guesses, 2 * guesses))
)
deltas = st.sampled_from([0.0, 1e-7, 1e-5, 1e-3])
levels = st.sampled_from([0.001, 0.01, 0.05, 0.2])


@given(counts, deltas, levels)
def test_the_bound_itself_is_refuted_and_a_little_more_is_not(numbers, delta, significance):
    guesses, correct, canaries = numbers
    same = {"canaries": canaries, "guesses": guesses, "correct": correct, "delta": delta}
    bound = epsilon_lower_bound(**same, significance=significance)
    if bound > 0:
        assert p_value(**same, epsilon=bound) <= significance
    assert p_value(**same, epsilon=bound + 1e-6) > significance


@given(counts, deltas, levels)
def test_the_bound_grows_with_right_guesses_and_shrinks_with_delta_confidence_and_canaries(
    numbers, delta, significance
):
    guesses, correct, canaries = numbers

    def bound(canaries=canaries, correct=correct, delta=delta, significance=significance):
        return epsilon_lower_bound(
            canaries=canaries, guesses=guesses, correct=correct, delta=delta, significance=significance
        )

    slack = 1e-9
    assert bound(correct=correct - 1) <= bound() + slack
    assert bound(delta=2 * delta + 1e-9) <= bound() + slack
    assert bound(significance=significance / 2) <= bound() + slack
    assert bound(canaries=2 * canaries) <= bound() + slack


@given(counts, deltas)
def test_the_p_value_is_a_probability_that_falls_with_right_guesses(numbers, delta):
    guesses, _, canaries = numbers
    values = [
        p_value(canaries=canaries, guesses=guesses, correct=correct, epsilon=1.0, delta=delta)
        for correct in range(guesses + 1)
    ]
    assert all(0 <= value <= 1 for value in values)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(values))


@pytest.mark.parametrize("delta", [0.0, 0.002])
def test_the_bound_exceeds_the_truth_as_rarely_as_promised(delta):
    """A mechanism that is exactly (epsilon, delta)-private: it tells all coins at once with probability delta, and
    otherwise each by randomised response. Its best guesses are what it says."""
    generator = np.random.default_rng(1)
    epsilon, canaries, runs = 1.5, 60, 20_000
    accuracy = 1 / (1 + math.exp(-epsilon))
    correct = generator.binomial(canaries, accuracy, size=runs)
    correct[generator.random(runs) < delta] = canaries
    bounds = {
        v: epsilon_lower_bound(canaries=canaries, guesses=canaries, correct=v, delta=delta, significance=0.05)
        for v in set(correct.tolist())
    }
    too_high = np.mean([bounds[v] > epsilon for v in correct.tolist()])
    assert 0.005 < too_high <= 0.055


@pytest.mark.parametrize(
    "bad",
    [
        {"correct": 11},
        {"guesses": 21},
        {"correct": -1},
        {"delta": 1.5},
        {"delta": float("nan")},
        {"significance": 0.0},
        {"significance": 1.0},
    ],
)
def test_impossible_numbers_are_refused(bad):
    good = {"canaries": 20, "guesses": 10, "correct": 9, "delta": 1e-5, "significance": 0.05}
    with pytest.raises(ValueError, match="expected"):
        epsilon_lower_bound(**{**good, **bad})
