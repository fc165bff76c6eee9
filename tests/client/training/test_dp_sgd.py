"""A step of DP-SGD on tiny models: what is sampled, clipped and noised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training import clipped_sum, dp_sgd
from sealora_common.entropy import Entropy, SeededEntropy
from sealora_common.privacy.mechanisms.local import LOCAL_GRID_STEPS

from dp_sgd_runs import SGD, train
from lora_kinds import lora
from single_examples import clipped_sum_of, recipe_for, reference_gradients, some_examples, write_random_adapter

pytestmark = pytest.mark.usefixtures("fresh_adapter")


def sampled(monkeypatch: pytest.MonkeyPatch, *indices: int) -> None:
    monkeypatch.setattr(clipped_sum, "poisson_batch", lambda *_: np.array(indices, dtype=np.int64))


def without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dp_sgd, "rounded_gaussian", lambda entropy, size, std: np.zeros(size, dtype=np.int64))


def reference(model: AdaptedModel, examples: Sequence[Example], clip_norm: float) -> NDArray[np.float64]:
    write_random_adapter(model)
    rows = reference_gradients(model, lora().trained(model.layout, 1), examples)
    total: NDArray[np.float64] = clipped_sum_of(rows, clip_norm).numpy()
    return total


def error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


# One step.


def test_one_step_is_the_clipped_sum_of_the_sample_plus_the_noise_over_the_expected_batch(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(base, training={**SGD, "learning_rate": 0.1}, privacy={"clip_norm": 0.3})
    examples = some_examples(20)
    drawn = [2, 3, 5, 7, 11, 13, 17]
    size = lora().trained(model.layout, 1).size
    noise = np.random.default_rng(1).normal(0, 2.0 * LOCAL_GRID_STEPS, size).round().astype(np.int64)
    asked: list[tuple[int, float]] = []

    def drawn_noise(entropy: Entropy, size: int, std: float) -> NDArray[np.int64]:
        asked.append((size, std))
        return noise

    sampled(monkeypatch, *drawn)
    monkeypatch.setattr(dp_sgd, "rounded_gaussian", drawn_noise)
    total = reference(model, [examples[index] for index in drawn], 0.3) + noise * (0.3 / LOCAL_GRID_STEPS)

    trained = train(model, recipe, examples, noise=2.0)

    # 10 is the expected batch, q N; 7 were drawn.
    assert error(trained.values, -0.1 * total / 10) < 1e-5
    assert asked == [(size, 2.0 * LOCAL_GRID_STEPS)]
    assert trained.figures.examples == 7


def test_the_clipping_norm_of_the_round_scales_clipping_and_noise(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(base, training=SGD, privacy={"clip_norm": 0.3})
    sampled(monkeypatch, *range(8))
    without_noise(monkeypatch)
    for clip_norm in (0.7, 12.0, 40.0):  # all, some and none of the gradients are clipped
        trained = train(model, recipe, some_examples(8), clip_norm=clip_norm)
        assert error(trained.values, -reference(model, some_examples(8), clip_norm) / 4) < 1e-5


@pytest.mark.parametrize("micro_batch_size", [1, 3, 100])
def test_the_micro_batch_size_does_not_change_the_result(
    model: AdaptedModel, base: Path, micro_batch_size: int
) -> None:
    expected = train(model, recipe_for(base, training=SGD), some_examples(12))
    other = recipe_for(base, training={**SGD, "micro_batch_size": micro_batch_size})
    assert error(train(model, other, some_examples(12)).values, expected.values) < 1e-5


@pytest.mark.parametrize("rate", [0.25, 1.0])
def test_the_sum_is_divided_by_q_n_where_n_counts_persons(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    examples = some_examples(12)
    persons = Population.of(examples, ["a"] * 6 + ["b"] * 4 + ["c"] + ["d"])
    recipe = recipe_for(base, training={**SGD, "sample_rate": rate}, data={"person_field": "p"})
    sampled(monkeypatch, 2)
    without_noise(monkeypatch)
    trained = train(model, recipe, persons)
    assert error(trained.values, -reference(model, examples[10:11], 1.0) / (rate * 4)) < 1e-5


# Noise, end to end.


def empty_steps(model: AdaptedModel, base: Path, steps: int, seed: int = 0) -> NDArray[np.float32]:
    """What rounds of empty samples leave in the adapter, in standard deviations of one step's noise."""
    recipe = recipe_for(base, training={**SGD, "steps_per_round": steps}, privacy={"clip_norm": 0.5})
    trained = train(model, recipe, some_examples(10), noise=3.0, entropy=SeededEntropy("noise", seed))
    assert trained.figures.examples == 0
    assert trained.moved
    result: NDArray[np.float32] = trained.values / (3.0 * 0.5 / (0.5 * 10))
    return result


def test_a_step_with_an_empty_sample_adds_the_noise_all_the_same(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled(monkeypatch)
    assert stats.kstest(empty_steps(model, base, 1), "norm").pvalue > 1e-4


def test_noise_is_fresh_in_every_step_and_every_round(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled(monkeypatch)
    two = empty_steps(model, base, 2)
    assert stats.kstest(two / math.sqrt(2), "norm").pvalue > 1e-4  # equal steps would add up to 2, not sqrt(2)
    rounds = [empty_steps(model, base, 1, seed) for seed in range(4)]
    correlation = np.corrcoef(rounds)[~np.eye(4, dtype=bool)]
    assert np.abs(correlation).max() < 5 / math.sqrt(len(two))


def test_noise_is_independent_between_coordinates(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled(monkeypatch)
    noise = empty_steps(model, base, 1).astype(np.float64)
    for lag in (1, 2, 7, len(noise) // 2):
        assert abs(np.corrcoef(noise[:-lag], noise[lag:])[0, 1]) < 5 / math.sqrt(len(noise) - lag)


@pytest.mark.parametrize(("noise", "clip_norm"), [(0.7, 1.0), (2.0, 0.1)])
def test_the_noise_on_a_full_sum_has_a_standard_deviation_of_sigma_c(
    model: AdaptedModel, base: Path, noise: float, clip_norm: float
) -> None:
    recipe = recipe_for(base, training={**SGD, "sample_rate": 1.0}, privacy={"clip_norm": clip_norm})
    examples = some_examples(6)
    trained = train(model, recipe, examples, noise=noise)
    found = -trained.values * 6 - reference(model, examples, clip_norm)
    assert stats.kstest(found / (noise * clip_norm), "norm").pvalue > 1e-4
    assert found.std() == pytest.approx(noise * clip_norm, rel=0.05)


def test_a_seeded_round_is_reproducible_bit_for_bit_and_another_seed_is_another_round(
    model: AdaptedModel, base: Path
) -> None:
    recipe = recipe_for(base)
    first, again, other = (train(model, recipe, some_examples(12), entropy=SeededEntropy(seed)) for seed in "aab")
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)


# Sampling, end to end.


def test_units_are_sampled_at_the_rate_independently_of_each_other_and_of_other_steps(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the engine samples them: through all layers, with the losses of a model replaced to save time."""
    steps, count, rate = 3000, 12, 0.3
    examples = [Example(np.array([3] * (2 + index), dtype=np.int32), 1) for index in range(count)]
    drawn = np.zeros((steps, count), dtype=bool)
    step = 0

    def seen(self: Any, sample: Sequence[Sequence[Example]]) -> torch.Tensor:
        for unit in sample:
            drawn[step, len(unit[0].tokens) - 2] = True
        return torch.zeros(self.size, dtype=torch.float64)

    def stepped(done: int, of: int) -> None:
        nonlocal step
        step = done

    monkeypatch.setattr(clipped_sum.ClippedSum, "sum_of", seen)
    without_noise(monkeypatch)
    training = {**SGD, "sample_rate": rate, "steps_per_round": steps}
    train(model, recipe_for(base, training=training), examples, on_step=stepped)

    spread = rate * (1 - rate)
    counts = drawn.sum(axis=0)
    assert stats.chi2.sf(((counts - steps * rate) ** 2).sum() / (steps * spread), count) > 1e-4
    sizes = drawn.sum(axis=1)
    assert sizes.var() == pytest.approx(count * spread, rel=0.15)  # a fixed batch size would have none
    between_units = np.corrcoef(drawn.T.astype(float))[~np.eye(count, dtype=bool)]
    between_steps = [np.corrcoef(column[:-1], column[1:])[0, 1] for column in drawn.T.astype(float)]
    assert np.abs(between_units).max() < 5 / math.sqrt(steps)
    assert np.abs(between_steps).max() < 5 / math.sqrt(steps)


# Adaptive clipping.


@pytest.mark.parametrize(("clip_norm", "share"), [(1e-3, 0.0), (1e6, 1.0)])
def test_the_share_of_unclipped_units_comes_out_with_the_noise(
    model: AdaptedModel, base: Path, clip_norm: float, share: float
) -> None:
    training = {"sample_rate": 1.0, "steps_per_round": 4, "optimizer": "adamw"}
    recipe = recipe_for(base, training=training, privacy={"target_quantile": 0.5, "clip_norm": clip_norm})
    found = [
        train(model, recipe, some_examples(4), noise=0.5, entropy=SeededEntropy("u", seed)).unclipped
        for seed in range(12)
    ]
    # Each is a mean over 4 steps of votes among 4 units: noise of 0.5 / (2 * 0.1 * 4 * sqrt(4)).
    scaled = (np.array(found) - share) / (0.5 / (0.2 * 8))
    assert stats.kstest(scaled, "norm").pvalue > 1e-3
    assert 0.5 < scaled.std() < 1.7


def test_without_adaptive_clipping_no_share_is_told(model: AdaptedModel, base: Path) -> None:
    assert train(model, recipe_for(base), some_examples(4)).unclipped is None


def test_the_vote_is_no_parameter(model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_noise(monkeypatch)
    training = {"sample_rate": 1.0, "steps_per_round": 1}
    plain, adaptive = (
        train(model, recipe_for(base, training=training, privacy=privacy), some_examples(4)).values
        for privacy in ({}, {"target_quantile": 0.5})
    )
    assert error(adaptive, plain) < 1e-3  # Adam hardly sees that the gradient is half a percent shorter
