from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from sealora_common.records.share_interval import share_interval


@given(st.integers(1, 500), st.data())
def test_of_one_share_it_is_wilson_s(count: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, count))
    expected = binomtest(hits, count).proportion_ci(0.95, "wilson")
    assert share_interval([hits / count], [count]) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_of_equal_counts_it_is_that_of_all_together(hits: list[int]) -> None:
    expected = binomtest(sum(hits), 40 * len(hits)).proportion_ci(0.95, "wilson")
    found = share_interval([hit / 40 for hit in hits], [40] * len(hits))
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_of_unequal_counts_it_covers_as_often_as_it_says() -> None:
    random, counts, truth = np.random.default_rng(0), [30, 300, 80], [0.6, 0.75, 0.7]
    drawn = random.binomial(counts, truth, size=(4000, 3)) / counts
    covered = [low <= np.mean(truth) <= high for low, high in (share_interval(list(row), counts) for row in drawn)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("shares", "counts"), [([], []), ([0.5], []), ([0.5], [0]), ([1.5], [3]), ([-0.1], [3])])
def test_what_is_no_share_or_count_is_refused(shares: list[float], counts: list[int]) -> None:
    with pytest.raises(ValueError, match="share"):
        share_interval(shares, counts)
