from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common import robust_mean
from sealora_common.contribution import OpenedRound
from sealora_common.recipe import SealingSection
from sealora_common.robust_mean import combine_groups

MEDIAN = SealingSection(groups=5)
TRIMMED = SealingSection(groups=5, combine="trimmed_mean", trim=2)


def opened(mean, first: int = 0, loss: float | None = 2.0, **figures) -> OpenedRound:
    survivors = (first, first + 1, first + 2)
    values = {"clipped_fraction": 0.0, "total_weight": 3.0, **figures}
    return OpenedRound(survivors, np.asarray(mean, dtype=np.float64), loss, groups=(survivors,), **values)


@settings(max_examples=60)
@given(
    st.integers(3, 9),
    st.data(),
    st.sampled_from(["median", "trimmed_mean"]),
    st.integers(0, 2**32 - 1),
)
def test_a_minority_of_groups_moves_no_coordinate_out_of_the_others_range(groups, data, combine, seed):
    """The promise: whatever the groups with a liar say, the result is one that the others might have given."""
    bad = data.draw(st.integers(0, (groups - 1) // 2))
    sealing = SealingSection(groups=groups, combine=combine, trim=max(1, bad))
    generator = np.random.default_rng(seed)
    honest = generator.normal(size=(groups - bad, 7))
    lies = generator.choice([-1e6, 0.3, 1e6], size=(bad, 7))
    rows = generator.permutation(np.concatenate([honest, lies]))
    combined = combine_groups([opened(row, 3 * place) for place, row in enumerate(rows)], sealing).mean_delta
    assert (honest.min(axis=0) <= combined).all()
    assert (combined <= honest.max(axis=0)).all()


def test_a_majority_is_not_held_back():
    """What no combination can do, said in a test so that nobody expects it."""
    rows = [[1.0], [1.0], [-50.0], [-50.0], [-50.0]]
    assert combine_groups([opened(row) for row in rows], MEDIAN).mean_delta[0] == -50.0


def test_median_and_trimmed_mean_are_what_they_are_called():
    rows = [[1.0, 5.0], [2.0, 4.0], [3.0, 3.0], [10.0, 2.0], [99.0, 1.0]]
    groups = [opened(row) for row in rows]
    np.testing.assert_array_equal(combine_groups(groups, MEDIAN).mean_delta, [3.0, 3.0])
    one = SealingSection(groups=5, combine="trimmed_mean", trim=1)
    np.testing.assert_array_equal(combine_groups(groups, one).mean_delta, [5.0, 3.0])
    np.testing.assert_array_equal(combine_groups(groups[:4], MEDIAN).mean_delta, [2.5, 3.5])


@pytest.mark.parametrize("sealing", [MEDIAN, TRIMMED])
def test_blocks_do_not_show(sealing, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(5, 23))
    groups = [opened(row) for row in rows]
    whole = combine_groups(groups, sealing).mean_delta
    monkeypatch.setattr(robust_mean, "_BLOCK", 4)
    np.testing.assert_array_equal(combine_groups(groups, sealing).mean_delta, whole)
    assert all(np.array_equal(group.mean_delta, row) for group, row in zip(groups, rows, strict=True))


def test_figures_are_the_medians_and_survivors_all_together():
    groups = [
        opened([0.0], 6, 2.0, total_weight=2.0, clipped_fraction=0.1, unclipped=0.4),
        opened([0.0], 0, 128.0, total_weight=3.0, clipped_fraction=1.0, unclipped=-1.0),
        opened([0.0], 3, 2.5, total_weight=0.3, clipped_fraction=0.2, unclipped=0.6),
    ]
    result = combine_groups(groups, MEDIAN)
    assert (result.heldout_loss, result.total_weight, result.clipped_fraction, result.unclipped) == (2.5, 2.0, 0.2, 0.4)
    assert result.survivors == tuple(range(9))
    assert result.groups == ((6, 7, 8), (0, 1, 2), (3, 4, 5))


def test_what_the_groups_do_not_tell_is_not_told():
    result = combine_groups([opened([], loss=None)] * 3, MEDIAN)
    assert result.heldout_loss is None
    assert result.unclipped is None
    assert result.mean_delta.shape == (0,)


@pytest.mark.parametrize(("count", "sealing"), [(0, MEDIAN), (4, TRIMMED)])
def test_too_few_groups_are_an_error(count, sealing):
    with pytest.raises(ValueError, match="more groups"):
        combine_groups([opened([1.0])] * count, sealing)
