"""Clipping and truncation to integers: the bound on a row, to the last bit, for any row there can be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sealora_client.model.adapters.rules.linear_weight import LinearWeight
from sealora_client.training.gradients.per_example import LARGEST_GRID, ClippedRows, PerExampleGradients
from sealora_common.round.clip_norm import VOTE, steps_of_gradient

from single_examples import clipped_sum_of, relative_error

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
GRIDS = [1, 2, 1000, 1 << 10, steps_of_gradient(1 << 16), (1 << 23) + 1, steps_of_gradient(LARGEST_GRID), LARGEST_GRID]


def gradients_of(rows: Tensor, *, matrices: Sequence[int] = ()) -> PerExampleGradients:
    """Gradients whose row i is `rows[i]`; `matrices` says how many of its elements each matrix has."""
    sizes = matrices or (rows.shape[1],)
    linears = [nn.Linear(size, 1, bias=False) for size in sizes]
    tensors = [(f"w{i}", LinearWeight(linear)) for i, linear in enumerate(linears)]
    with PerExampleGradients(tensors, len(rows)) as gradients:
        gradients.start(len(rows))
        gradients.begin(range(len(rows)), 1)
        sum(linear(torch.zeros(len(rows), linear.in_features)).sum() for linear in linears).backward()
        for matrix, part in zip(gradients._matrices, rows.split(list(sizes), dim=1), strict=True):
            matrix.rows.copy_(part[:, None])
    assert torch.equal(gradients.rows(), rows.float()) or rows.isnan().any()
    return gradients


def truncated(
    rows: Tensor, clip_norm: float, grid_steps: int, *, per_layer: bool = False, matrices: Sequence[int] = ()
) -> tuple[Tensor, ClippedRows]:
    gradients = gradients_of(rows, matrices=matrices)
    total = torch.zeros(gradients.size, dtype=torch.float64)
    return total, gradients.truncated_sum_(total, clip_norm, grid_steps, per_layer=per_layer)


def squared(integers: Tensor) -> int:
    """The squared L2 norm in Python's integers; fails if there is something else than integers."""
    values = integers.tolist()
    assert all(value.is_integer() for value in values)
    return sum(int(value) ** 2 for value in values)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
any_rows = st.one_of(
    st.lists(finite, min_size=1, max_size=40),
    st.lists(st.sampled_from([0.0, SMALLEST, -SMALLEST, 1e-38, 1.0, -1.0, LARGEST, -LARGEST]), min_size=1, max_size=40),
    st.tuples(finite, st.integers(1, 300)).map(lambda pair: [pair[0]] * pair[1]),  # equal
    st.tuples(finite, st.integers(1, 50), st.integers(0, 49)).map(  # one-hot
        lambda drawn: [drawn[0] if i == drawn[2] % drawn[1] else 0.0 for i in range(drawn[1])]
    ),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 300), st.floats(-44, 38)).map(  # Gaussian, of any scale
        lambda drawn: (np.random.default_rng(drawn[0]).normal(size=drawn[1]) * 10.0 ** drawn[2]).tolist()
    ),
).map(lambda values: torch.tensor([values], dtype=torch.float64).clamp(-LARGEST, LARGEST).float())
clip_norms = st.one_of(st.floats(1e-3, 1e3), st.floats(1e-300, 1e300), st.sampled_from([SMALLEST, 1e-308, 1.0, 1e308]))


@settings(max_examples=600)
@given(any_rows, clip_norms, st.one_of(st.sampled_from(GRIDS), st.integers(1, LARGEST_GRID)), st.booleans())
def test_a_row_becomes_integers_no_longer_than_the_units(row: Tensor, clip_norm: float, grid_steps: int, halved: bool):
    matrices = (row.shape[1] // 2, row.shape[1] - row.shape[1] // 2) if halved and row.shape[1] > 1 else ()
    flat, _ = truncated(row, clip_norm, grid_steps, matrices=matrices)
    assert squared(flat) <= grid_steps**2
    by_layer, _ = truncated(row, clip_norm, grid_steps, matrices=matrices, per_layer=True)
    assert squared(by_layer) <= grid_steps**2
    for part in by_layer.split(list(matrices) or [row.shape[1]]):
        assert squared(part) * max(1, len(matrices)) <= grid_steps**2


@settings(max_examples=300)
@given(any_rows, st.integers(10, 26))
def test_a_row_and_its_vote_are_together_no_longer_than_the_units(row: Tensor, bits: int):
    grid_steps = 1 << bits
    total, _ = truncated(row, 1.0, steps_of_gradient(grid_steps))
    assert squared(total) + math.floor(VOTE * grid_steps) ** 2 <= grid_steps**2


@pytest.mark.parametrize("grid_steps", GRIDS)
def test_rounding_in_float32_never_makes_a_row_too_long(grid_steps: int) -> None:
    """Nothing is cut off a row of one element, or of four equal ones, so every error of rounding shows."""
    values = torch.tensor(np.random.default_rng(0).uniform(1, 2, 300), dtype=torch.float32)
    for value in values:
        for row in (value.view(1, 1), value.expand(1, 4)):
            assert squared(truncated(row, 0.7, grid_steps)[0]) <= grid_steps**2


def test_a_row_that_is_clipped_keeps_the_clipping_norm_and_its_direction() -> None:
    rows = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) + 1
    total, outcome = truncated(rows, 0.5, LARGEST_GRID)
    assert outcome.clipped == 4
    assert relative_error(total * 0.5 / LARGEST_GRID, clipped_sum_of(rows.double(), 0.5)) < 1e-6


def test_none_clipped_gives_the_plain_sum() -> None:
    rows = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    total, outcome = truncated(rows, 20.0, LARGEST_GRID)
    assert outcome.clipped == 0
    assert relative_error(total * 20.0 / LARGEST_GRID, rows.double().sum(0)) < 1e-5


def test_norms_are_those_of_float64() -> None:
    rows = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0)) * 1e-3
    _, outcome = truncated(rows, 1.0, LARGEST_GRID, matrices=(1000, 4000))
    assert torch.allclose(outcome.norms, rows.double().norm(dim=1), rtol=1e-14)


@pytest.mark.parametrize("grid_steps", [1024, steps_of_gradient(1 << 16), LARGEST_GRID])
def test_a_coordinate_is_cut_towards_zero(grid_steps: int) -> None:
    rows = torch.tensor([[0.3, -0.3, 0.4, -0.4, 1e-9, -1e-9]])
    total, _ = truncated(rows, 1.0, grid_steps)
    exact = rows.double() * (grid_steps * (1 - 2.0**-22))
    assert torch.equal(total, exact.float().double().trunc()[0])
    assert total[4:].tolist() == [0.0, 0.0] if grid_steps == 1024 else True


def test_per_layer_clips_each_matrix_to_its_share() -> None:
    rows = torch.randn(3, 60, generator=torch.Generator().manual_seed(0))
    rows[:, :10] *= 0.01  # this matrix stays below its share
    sizes = (10, 20, 30)
    clip_norm = 1.5
    total, outcome = truncated(rows, clip_norm, LARGEST_GRID, per_layer=True, matrices=sizes)
    share = clip_norm / math.sqrt(3)
    expected = torch.cat([clipped_sum_of(part, share) for part in rows.double().split(list(sizes), dim=1)])
    assert relative_error(total * clip_norm / LARGEST_GRID, expected) < 1e-5
    assert outcome.clipped == 3
    assert torch.allclose(outcome.norms, rows.double().norm(dim=1))


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 1000, LARGEST_GRID]))
def test_a_sum_does_not_depend_on_the_order_nor_on_the_grouping_of_rows(seed: int, grid_steps: int) -> None:
    generator = np.random.default_rng(seed)
    rows = torch.tensor(generator.normal(size=(12, 30)) * 10.0 ** generator.integers(-3, 3, (12, 1))).float()
    whole, _ = truncated(rows, 1.0, grid_steps)
    single = sum(truncated(row[None], 1.0, grid_steps)[0] for row in rows)
    shuffled, _ = truncated(rows[generator.permutation(12).tolist()], 1.0, grid_steps)
    assert torch.equal(whole, single)
    assert torch.equal(whole, shuffled)
    assert torch.equal(whole, whole.round())


def test_the_largest_sums_are_exact() -> None:
    total = torch.full((1,), float((1 << 52) - LARGEST_GRID - 1), dtype=torch.float64)
    gradients = gradients_of(torch.tensor([[1.0]]))
    gradients.truncated_sum_(total, 1.0, LARGEST_GRID)
    added = math.floor(float(np.float32(LARGEST_GRID * (1 - 2.0**-22))))
    assert int(total) == (1 << 52) - LARGEST_GRID - 1 + added


def test_a_zero_gradient_adds_zero_and_is_not_clipped() -> None:
    for per_layer in (False, True):
        total, outcome = truncated(torch.zeros(2, 5), 1.0, LARGEST_GRID, per_layer=per_layer, matrices=(2, 3))
        assert not total.any()
        assert (outcome.clipped, outcome.non_finite, outcome.norms.tolist()) == (0, 0, [0.0, 0.0])


@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_row_without_a_finite_gradient_adds_nothing_and_harms_no_other(poison: float, per_layer: bool) -> None:
    rows = torch.randn(3, 5)
    rows[1, 2] = poison
    whole, outcome = truncated(rows, 1.0, 1000, per_layer=per_layer, matrices=(2, 3))
    others, _ = truncated(rows[[0, 2]], 1.0, 1000, per_layer=per_layer, matrices=(2, 3))
    assert torch.equal(whole, others)
    assert outcome.non_finite == 1
    assert outcome.clipped <= 2
    assert not math.isfinite(float(outcome.norms[1]))


def test_a_row_too_long_for_float32_to_scale_adds_nothing() -> None:
    """Its scale would lie below float32's normal range, where rounding is coarser than the bound allows for."""
    row = torch.full((1, 200_000), LARGEST)
    total, outcome = truncated(row, 1.0, 1024)
    assert not total.any()
    assert outcome.clipped == 1
    spread, _ = truncated(torch.full((1, 4), LARGEST), 1.0, 1024)
    assert spread.tolist() == [511.0] * 4


@pytest.mark.parametrize("clip_norm", [1e-308, 1e-45, 1e-30, 1e300])
def test_extreme_clipping_norms_keep_the_bound(clip_norm: float) -> None:
    rows = torch.tensor([[SMALLEST, 1e-20, 1.0, LARGEST], [0.0, SMALLEST, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    for row in rows:
        assert squared(truncated(row[None], clip_norm, LARGEST_GRID)[0]) <= LARGEST_GRID**2


def test_without_clipping_rows_are_summed_as_they_are() -> None:
    rows = torch.randn(4, 50) * 1e9
    rows[2, 7] = math.nan
    gradients = gradients_of(rows)
    total = torch.zeros(50, dtype=torch.float64)
    outcome = gradients.sum_(total)
    assert torch.allclose(total, rows[[0, 1, 3]].double().sum(0), rtol=1e-15)
    assert (outcome.clipped, outcome.non_finite) == (0, 1)
