"""A site's part in a distributed step: its share of the noise, the bound on its sum, and what the sites' sum says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from sealora_client.data.population import Population
from sealora_client.ledger import Charge, Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training import clipped_sum, distributed
from sealora_client.training.choice import training_of
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.gradients.per_example import LARGEST_GRID
from sealora_client.training.round_training import TrainedRound
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe.schema import Recipe
from sealora_common.round.clip_norm import VOTE, steps_of_gradient
from sealora_common.round.sum_grid import SumGrid
from sealora_common.secagg import RingVector, Segment

from lora_kinds import lora
from single_examples import clipped_sum_of, recipe_for, reference_gradients, some_examples

Base = Callable[..., Path]
GRID = SumGrid(grid_steps=1 << 12, site_limit=8 << 12, bits=24, honest_survivors=3)


def shared_recipe(**changes: dict[str, Any]) -> Recipe:
    """A recipe of the mechanism `distributed`."""
    training = {"steps_per_round": 1, "sample_rate": 1.0, **changes.pop("training", {})}
    sections = {"privacy": {"mechanism": "distributed", **changes.pop("privacy", {})}, "sealing": {"ring_bits": 24}}
    return recipe_for(Path("unused"), training=training, **sections, **changes)


def site_sum(
    model: AdaptedModel, count: int = 4, *, seed: int = 0, noise: float = 1.0, grid: SumGrid = GRID, **changes: Any
) -> TrainedRound:
    """The noised sum of a site that has `count` records of its own."""
    recipe = shared_recipe(**changes)
    step = PrivacyEvent(noise, recipe.training.sample_rate, 1, "skellam", grid.grid_steps)
    return training_of(recipe).train(
        model,
        Population.of(some_examples(count, seed)),
        plan=TrainingPlan.of(recipe, step, grid.grid_steps, grid),
        recipe=recipe,
        round_number=1,
        clip_norm=1.0,
        leave=Rehearsal(step),
        entropy=SeededEntropy("site", seed),
    )


def sampled(monkeypatch: pytest.MonkeyPatch, *indices: int) -> None:
    monkeypatch.setattr(clipped_sum, "poisson_batch", lambda *_: np.array(indices, dtype=np.int64))


def without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "skellam", lambda entropy, size, variance: np.zeros(size, dtype=np.int64))


@pytest.mark.parametrize(("noise", "honest"), [(1.0, 3), (0.4, 7), (3.0, 1)])
def test_a_site_s_noise_has_its_share_of_the_variance(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch, noise: float, honest: int
) -> None:
    sampled(monkeypatch)  # noise is all there is in an empty step
    grid = SumGrid(1 << 12, 8 << 12, 24, honest)
    values = site_sum(model, noise=noise, grid=grid).values
    std = noise * (1 << 12) / math.sqrt(honest)
    assert values.dtype == np.int64
    assert stats.kstest(values / std, "norm").pvalue > 1e-3
    assert values.var() == pytest.approx(std**2, rel=0.1)  # 4,096 draws: a standard error of 2 %


def test_each_draw_of_noise_is_fresh(model: AdaptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled(monkeypatch)
    first, second = (site_sum(model, seed=seed).values for seed in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(len(first))


def test_before_the_noise_it_is_the_clipped_sum_and_the_adapter_stays(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_noise(monkeypatch)
    before = model.read(model.layout.names)
    grid = SumGrid(LARGEST_GRID, 8 * LARGEST_GRID, 32, 3)
    summed = site_sum(model, 6, grid=grid)
    layout = lora().trained(model.layout, 1)
    expected = clipped_sum_of(reference_gradients(model, layout, some_examples(6)), 1.0).numpy()
    error = np.linalg.norm(summed.values / LARGEST_GRID - expected) / np.linalg.norm(expected)
    assert error < 1e-5
    assert summed.figures.examples == 6
    after = model.read(model.layout.names)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_votes_stand_at_the_end_and_carry_noise_too(model: AdaptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled(monkeypatch)
    votes = [site_sum(model, seed=seed, privacy={"target_quantile": 0.5}).values for seed in range(30)]
    assert len(votes[0]) == lora().trained(model.layout, 1).size + 1
    ends = np.array([values[-1] for values in votes]) / ((1 << 12) / math.sqrt(3))
    assert stats.kstest(ends, "norm").pvalue > 1e-3


@pytest.mark.parametrize("quantile", [None, 0.5])
def test_every_coordinate_is_bounded_before_the_noise(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch, quantile: float | None
) -> None:
    without_noise(monkeypatch)
    size = lora().trained(model.layout, 1).size + (quantile is not None)
    wild = torch.zeros(size, dtype=torch.float64)
    wild[:4] = torch.tensor([1e12, -1e12, GRID.site_limit, -5.0])
    wild[-1] = -1e12
    monkeypatch.setattr(ClippedSum, "sum_of", lambda self, sample: wild)
    values = site_sum(model, privacy={"target_quantile": quantile}).values
    assert values[:4].tolist() == [GRID.site_limit, -GRID.site_limit, GRID.site_limit, -5]
    assert values[-1] == -GRID.site_limit


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(-(10**6), 10**6)), min_size=1, max_size=30))
def test_bounding_brings_two_sums_no_further_apart(pairs: list[tuple[int, int]]) -> None:
    """As the site bounds them: whatever a unit's contribution was to two sums, it is no longer after it."""
    one = np.array([first for first, _ in pairs], dtype=np.float64)
    other = one + np.array([second for _, second in pairs])
    bounded = [np.clip(total, -GRID.site_limit, GRID.site_limit) for total in (one, other)]
    assert np.square(bounded[1] - bounded[0]).sum() <= np.square(other - one).sum()


def opened(grid: SumGrid, sums: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The sum as the seal opens it: words added modulo 2^w."""
    segments = (Segment(len(sums[0]), grid.bits),)
    total = RingVector.zeros(segments)
    for values in sums:
        total.add_(RingVector(segments, (grid.encode(values),)))
    total.reduce_()
    return grid.decode(total.words[0])


@pytest.mark.parametrize("sites", [3, 6])
def test_the_opened_sum_is_the_true_sum_and_noise_of_all_sites_shares(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch, sites: int
) -> None:
    noised = opened(GRID, [site_sum(model, seed=seed, noise=2.0).values for seed in range(sites)])
    without_noise(monkeypatch)
    plain = sum(site_sum(model, seed=seed).values for seed in range(sites))
    assert plain.any()
    # Three honest survivors carry all of the noise; each further site adds its share on top.
    std = 2.0 * GRID.grid_steps * math.sqrt(sites / GRID.honest_survivors)
    assert stats.kstest((noised - plain) / std, "norm").pvalue > 1e-3
    assert np.var(noised - plain) == pytest.approx(std**2, rel=0.1)


def test_a_sum_that_does_not_fit_the_ring_wraps_and_stays_the_sum_modulo_the_ring() -> None:
    grid = SumGrid(1 << 12, 8 << 12, 20, 3)
    values = np.array([(1 << 19) - 1, -(1 << 19), 5], dtype=np.int64)
    total = opened(grid, [values, values, values])
    assert ((total - 3 * values) % (1 << 20) == 0).all()
    assert (np.abs(total) <= 1 << 19).all()


def test_a_vote_and_a_gradient_are_together_no_longer_than_the_sensitivity(
    model: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_noise(monkeypatch)
    values = site_sum(model, 1, privacy={"target_quantile": 0.5}).values
    assert sum(value**2 for value in values.tolist()) <= GRID.grid_steps**2
    assert abs(values[-1]) == math.floor(VOTE * GRID.grid_steps)
    assert sum(value**2 for value in values[:-1].tolist()) > 0.98 * steps_of_gradient(GRID.grid_steps) ** 2


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan])
def test_a_sum_without_noise_is_refused(model: AdaptedModel, noise: float) -> None:
    with pytest.raises(BudgetError, match="noise_multiplier"):
        site_sum(model, noise=noise)


def test_only_the_step_that_was_paid_for_is_summed(model: AdaptedModel) -> None:
    """On a coarser grid the same multiplier would be another mechanism, whose noise costs more."""
    recipe = shared_recipe()
    due = PrivacyEvent(1.0, recipe.training.sample_rate, 1, "skellam", GRID.grid_steps)
    paid = Charge(1, "00" * 32, "run", 1, "dataset", due, recipe.privacy.delta, 1.0)
    wrong = [
        replace(paid, event=replace(due, grid_steps=2 * due.grid_steps)),
        replace(paid, event=PrivacyEvent(1.0, due.sample_rate, 1)),
        replace(paid, event=replace(due, sample_rate=due.sample_rate / 2)),
        replace(paid, event=replace(due, steps=2)),
        replace(paid, round_number=2),
        replace(paid, delta=recipe.privacy.delta / 2),
    ]

    def summed(leave: Charge) -> TrainedRound:
        return training_of(recipe).train(
            model,
            Population.of(some_examples(2)),
            plan=TrainingPlan.of(recipe, due, GRID.grid_steps, GRID),
            recipe=recipe,
            round_number=1,
            clip_norm=1.0,
            leave=leave,
            entropy=SeededEntropy("site"),
        )

    assert summed(paid).values.any()
    for leave in wrong:
        with pytest.raises(BudgetError):
            summed(leave)
