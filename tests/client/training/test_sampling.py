"""Poisson sampling: the rate, and independence between units and between batches; and uniform subsets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from sealora_client.training.noise.keystream import Keystream
from sealora_client.training.sampling import choose, poisson_batch
from sealora_common.entropy import SeededEntropy, SystemEntropy

BATCHES = 4000
POPULATION = 50


def inclusion(rate: float) -> np.ndarray:
    """Boolean (BATCHES, POPULATION)."""
    entropy = SeededEntropy("sampling", str(rate))
    drawn = np.zeros((BATCHES, POPULATION), dtype=bool)
    for row in drawn:
        row[poisson_batch(entropy, POPULATION, rate)] = True
    return drawn


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_every_record_is_drawn_at_the_rate(rate: float) -> None:
    counts = inclusion(rate).sum(axis=0)
    statistic = ((counts - BATCHES * rate) ** 2).sum() / (BATCHES * rate * (1 - rate))
    assert stats.chi2.sf(statistic, POPULATION) > 1e-3


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_batch_sizes_are_binomial(rate: float) -> None:
    sizes = inclusion(rate).sum(axis=1)
    assert abs(sizes.mean() - POPULATION * rate) < 5 * math.sqrt(POPULATION * rate * (1 - rate) / BATCHES)
    assert sizes.var() == pytest.approx(POPULATION * rate * (1 - rate), rel=0.15)


def test_records_and_successive_batches_are_independent() -> None:
    drawn = inclusion(0.3).astype(float)
    between_records = np.corrcoef(drawn.T)[~np.eye(POPULATION, dtype=bool)]
    between_batches = np.array([np.corrcoef(column[:-1], column[1:])[0, 1] for column in drawn.T])
    assert np.abs(between_records).max() < 6 / math.sqrt(BATCHES)
    assert np.abs(between_batches).max() < 5 / math.sqrt(BATCHES)


def test_extreme_rates_draw_all_or_none() -> None:
    assert poisson_batch(SystemEntropy(), 1000, 1.0).tolist() == list(range(1000))
    assert poisson_batch(SystemEntropy(), 1000, 0.0).size == 0
    assert poisson_batch(SystemEntropy(), 0, 0.5).size == 0


def test_the_rate_is_exact_at_the_threshold_and_never_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = 0.1  # 0.1 * 2^53 is 900719925474099.25: the integers below 900719925474099 are drawn
    edge = np.array([900719925474098, 900719925474099], dtype=np.uint64)
    monkeypatch.setattr(Keystream, "integers", lambda self, count: edge)
    assert poisson_batch(SystemEntropy(), 2, rate).tolist() == [0]


def test_indices_are_ascending_int64() -> None:
    batch = poisson_batch(SystemEntropy(), 10_000, 0.5)
    assert batch.dtype == np.int64
    assert (np.diff(batch) > 0).all()


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        poisson_batch(SystemEntropy(), 3, rate)


# A person's records.


def test_every_subset_of_the_size_is_chosen_as_often() -> None:
    entropy = SeededEntropy("choose")
    subsets = dict.fromkeys(itertools.combinations(range(6), 3), 0)
    draws = 4000
    for _ in range(draws):
        subsets[tuple(choose(entropy, 6, 3).tolist())] += 1
    assert stats.chisquare(list(subsets.values())).pvalue > 1e-3


def test_all_are_taken_where_there_are_no_more() -> None:
    class Forbidden:
        def bytes(self, count: int, /) -> bytes:
            raise AssertionError("no randomness is needed")

    for population in (0, 1, 3):
        assert choose(Forbidden(), population, 3).tolist() == list(range(population))


def test_a_subset_is_ascending_without_repetition() -> None:
    chosen = choose(SystemEntropy(), 1000, 100)
    assert chosen.dtype == np.int64
    assert len(chosen) == 100
    assert (np.diff(chosen) > 0).all()
