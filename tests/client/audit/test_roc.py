from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sealora_client.audit.roc import Roc, binomial_interval


def values(*numbers):
    return np.array(numbers, dtype=np.float64)


def test_a_score_that_tells_all():
    roc = Roc.of(values(3, 4, 5), values(0, 1, 2))
    assert roc.auc == 1.0
    assert roc.false_positive_rate[0] == roc.true_positive_rate[0] == 0.0
    assert roc.false_positive_rate[-1] == roc.true_positive_rate[-1] == 1.0


def test_a_score_that_tells_the_wrong_way_round():
    assert Roc.of(values(0, 1), values(2, 3)).auc == 0.0


def test_a_curve_by_hand():
    roc = Roc.of(values(4, 2, 2), values(3, 1))
    assert roc.false_positive_rate.tolist() == [0, 0, 0.5, 0.5, 1]
    assert roc.true_positive_rate == pytest.approx([0, 1 / 3, 1 / 3, 1, 1])
    assert roc.auc == pytest.approx(4 / 6)


small = st.lists(st.integers(0, 6).map(float), min_size=2, max_size=12).map(np.array)


@given(small, small)
def test_the_area_is_the_chance_that_a_member_scores_higher(members, others):
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(members, others)]
    roc = Roc.of(members, others)
    assert roc.auc == pytest.approx(np.mean(pairs))
    assert np.trapezoid(roc.true_positive_rate, roc.false_positive_rate) == pytest.approx(roc.auc)
    assert (np.diff(roc.false_positive_rate) >= 0).all()
    assert (np.diff(roc.true_positive_rate) >= 0).all()


def test_the_interval_of_the_area_covers_the_true_one_as_often_as_promised():
    generator = np.random.default_rng(3)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    covered = 0
    for _ in range(400):
        roc = Roc.of(generator.normal(1, 1, size=120), generator.normal(0, 1, size=80))
        covered += roc.auc_interval[0] <= truth <= roc.auc_interval[1]
    assert 0.92 < covered / 400 < 0.98


def test_the_rate_at_a_low_false_positive_rate_allows_no_more_false_positives():
    members = values(*range(50, 250))
    others = values(*range(200))
    roc = Roc.of(members, others)
    rate, (low, high) = roc.true_positives_at(0.01)
    assert rate == pytest.approx(52 / 200)  # at two of 200 false positives: members from 198 on
    assert low < rate < high
    assert (low, high) == pytest.approx(binomial_interval(52, 200))


def test_a_false_positive_rate_below_one_in_all_is_not_told():
    roc = Roc.of(values(*range(300)), values(*range(99)))
    assert roc.true_positives_at(0.01) is None
    assert Roc.of(values(*range(300)), values(*range(100))).true_positives_at(0.01) is not None


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (51, 200)])
def test_the_binomial_interval_is_clopper_and_pearson_s(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="exact")
    assert binomial_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_one_score_has_no_curve():
    with pytest.raises(ValueError, match="two scores"):
        Roc.of(values(1), values(1, 2))
