from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sealora_client.data_report.report import Spread


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_percentiles_are_numbers_that_so_many_are_no_larger_than(numbers):
    spread = Spread.of(numbers)
    assert spread is not None
    assert (spread.least, spread.most) == (min(numbers), max(numbers))
    for part, value in ((50, spread.median), (90, spread.percentile_90), (99, spread.percentile_99)):
        assert value in numbers
        assert 100 * sum(number <= value for number in numbers) >= part * len(numbers)
        assert 100 * sum(number < value for number in numbers) < part * len(numbers)


def test_of_nothing_there_is_no_spread():
    assert Spread.of([]) is None
