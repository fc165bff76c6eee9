from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.recipe import SealingSection
from sealora_common.round import robust_mean
from sealora_common.round.contribution import OpenedRound
from sealora_common.round.robust_mean import combine_groups, near_each_other, near_the_median, pool_groups

MEDIAN = SealingSection(groups=5)
TRIMMED = SealingSection(groups=5, combine="trimmed_mean", trim=2)
KRUM = SealingSection(groups=5, combine="multi_krum", trim=1)
NEAR = SealingSection(groups=5, combine="near_median", trim=2)
KEPT = {"multi_krum": near_each_other, "near_median": near_the_median}


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


@st.composite
def a_minority(draw, beyond):
    """Honest rows within a ball, liars far from it (together or each by itself), and where the liars stand."""
    liars = draw(st.integers(1, 3))
    lying = draw(st.integers(0, liars))
    count = 2 * liars + beyond + draw(st.integers(0, 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    center, away = generator.normal(size=(2, 5))
    honest = center + generator.uniform(-1, 1, size=(count - lying, 5))
    together = draw(st.booleans())
    far = [center + away / np.linalg.norm(away) * (100.0 if together else 100.0 * 3**place) for place in range(lying)]
    places = generator.permutation(count)
    rows = np.concatenate([honest, np.reshape(far, (lying, 5))])[places]
    return rows, {int(place) for place in np.flatnonzero(places >= count - lying)}, liars


@settings(max_examples=80)
@given(a_minority(3))
def test_multi_krum_keeps_no_far_liar(case):
    """The promise, and as many groups as are meant, whether the liars stand together or each by itself."""
    rows, lying, liars = case
    kept = near_each_other(list(rows), liars)
    assert len(kept) == len(rows) - liars
    assert not lying & set(kept)


@settings(max_examples=80)
@given(a_minority(1))
def test_near_the_median_no_far_liar_is_kept(case):
    rows, lying, liars = case
    kept = near_the_median(list(rows), liars)
    assert len(kept) == len(rows) - liars
    assert not lying & set(kept)


def test_who_keeps_within_the_spread_is_kept():
    """What no combination can do: the liar is the last, and moves the mean by as much as honest groups differ."""
    rows = [np.array([value]) for value in (-2.0, -1.0, 0.0, 1.0, 2.0, 2.5, 0.9)]
    assert 6 in near_each_other(rows, 1)
    assert 6 in near_the_median(rows, 1)


@settings(max_examples=60)
@given(st.sampled_from(sorted(KEPT)), st.integers(5, 9), st.integers(0, 2**32 - 1), st.booleans())
def test_the_order_of_the_groups_decides_nothing(combine, count, seed, ties):
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 3, size=(count, 3)) if ties else generator.normal(size=(count, 3))
    groups = [opened(row, 3 * place) for place, row in enumerate(rows)]
    sealing = SealingSection(groups=count, combine=combine, trim=1)
    there = combine_groups(groups, sealing).mean_delta
    shuffled = [groups[place] for place in generator.permutation(count)]
    np.testing.assert_array_equal(combine_groups(shuffled, sealing).mean_delta, there)


@pytest.mark.parametrize("combine", KEPT)
def test_told_of_no_liars_all_are_kept(combine):
    rows = np.random.default_rng(0).normal(size=(6, 4))
    for count in range(1, 7):
        assert KEPT[combine](list(rows[:count]), 0) == list(range(count))


@pytest.mark.parametrize("sealing", [KRUM, NEAR])
def test_of_equal_groups_the_result_is_their_mean(sealing):
    row = np.random.default_rng(0).normal(size=8)
    np.testing.assert_allclose(combine_groups([opened(row, 3 * place) for place in range(5)], sealing).mean_delta, row)


@pytest.mark.parametrize(
    ("sealing", "expected"), [(KRUM, [1.75, 1.0]), (SealingSection(groups=5, combine="near_median"), [1.75, 1.0])]
)
def test_what_is_kept_is_averaged(sealing, expected):
    rows = [[1.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 2.0], [0.0, 40.0]]
    np.testing.assert_allclose(combine_groups([opened(row) for row in rows], sealing).mean_delta, expected)


def test_multi_krum_sees_a_group_by_its_nearest_only():
    """By the sum of all distances the lone -6 would stay, for it has fewer at the far end; by its 4 nearest it goes."""
    rows = [np.array([value]) for value in (-6.0, 0.0, 0.1, 0.2, 9.0, 9.1, 9.2)]
    assert near_each_other(rows, 1) == [1, 2, 3, 4, 5, 6]


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


@pytest.mark.parametrize("sealing", [MEDIAN, TRIMMED, KRUM, NEAR])
def test_blocks_do_not_show(sealing, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(5, 23))
    rows[2, 4:] = 0.0  # near all others but for its first block
    rows[2, :4] = 100.0
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


@pytest.mark.parametrize(("count", "sealing"), [(0, MEDIAN), (4, TRIMMED), (4, KRUM), (4, NEAR)])
def test_too_few_groups_are_an_error(count, sealing):
    with pytest.raises(ValueError, match="more groups"):
        combine_groups([opened([1.0])] * count, sealing)


@pytest.mark.parametrize(("combine", "liars", "count"), [("multi_krum", 2, 6), ("near_median", 2, 4)])
def test_of_too_few_groups_none_is_picked(combine, liars, count):
    """With fewer, liars' groups could decide who is far: refused whoever calls, not only in a recipe."""
    with pytest.raises(ValueError, match=f"more groups for liars=2, got {count}"):
        KEPT[combine]([np.zeros(3)] * count, liars)


def test_pooled_groups_say_what_one_sum_of_all_sites_would():
    """Deltas by weight; figures that every site has one of, by sites."""
    one = OpenedRound((0, 2, 4, 5), np.array([1.0, -2.0]), 3.0, 0.5, 2.0, 0.25, groups=((0, 2, 4, 5),))
    two = OpenedRound((1, 3), np.array([4.0, 7.0]), 1.5, 0.2, 1.0, 1.0, groups=((1, 3),))
    pooled = pool_groups([one, two])
    assert pooled.survivors == (0, 1, 2, 3, 4, 5)
    assert pooled.groups == ((0, 2, 4, 5), (1, 3))
    np.testing.assert_allclose(pooled.mean_delta, [2.0, 1.0])
    figures = (pooled.heldout_loss, pooled.clipped_fraction, pooled.total_weight, pooled.unclipped)
    np.testing.assert_allclose(figures, (2.5, 0.4, 3.0, 0.5))


def test_pooled_groups_tell_no_figure_that_the_round_has_not():
    pooled = pool_groups([opened([1.0], loss=None), opened([3.0], first=3, loss=None)])
    assert (pooled.heldout_loss, pooled.unclipped) == (None, None)
