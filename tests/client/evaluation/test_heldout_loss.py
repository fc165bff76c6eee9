"""The held-out loss: exact for the site, noisy for what leaves it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.evaluation import metric
from sealora_client.evaluation.heldout_loss import HeldoutLoss, heldout_loss, loss_range
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_common.entropy import SeededEntropy, SystemEntropy
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.privacy.releases import HeldoutPlan

from single_examples import in_float64, load, random_examples, some_examples

Base = Callable[..., Path]


@pytest.fixture(scope="module")
def model(tiny_base: Base) -> AdaptedModel:
    return load(tiny_base("llama"))


def losses_of(*by_unit: float) -> HeldoutLoss:
    return HeldoutLoss(nll_sum=1.0, tokens=1, by_unit=np.array(by_unit))


# What is measured.


def test_losses_are_those_of_single_examples(model: AdaptedModel) -> None:
    examples = some_examples(9)
    expected = []
    with torch.no_grad(), in_float64(model):
        for example in examples:
            tokens = torch.from_numpy(example.tokens.astype(np.int64))
            logits = model.model(input_ids=tokens[None]).logits[0]
            start = example.prompt_length
            expected.append(float(functional.cross_entropy(logits[start - 1 : -1], tokens[start:])))
    lengths = [example.response_length for example in examples]
    for micro_batch_size in (1, 4, 100):
        loss = heldout_loss(model, CausalLanguageModelling(), Population.of(examples), micro_batch_size)
        assert loss.by_unit == pytest.approx(expected, rel=1e-5)
        assert loss.tokens == sum(lengths)
        assert loss.mean == pytest.approx(np.average(expected, weights=lengths), rel=1e-5)


def test_a_person_s_loss_is_the_mean_over_their_examples(model: AdaptedModel) -> None:
    examples, persons = some_examples(9), ["a", "b", "a", "c", "a", "b", "a", "a", "c"]
    single = heldout_loss(model, CausalLanguageModelling(), Population.of(examples), 4).by_unit
    by_person = heldout_loss(model, CausalLanguageModelling(), Population.of(examples, persons), 2)
    for place, person in enumerate("abc"):
        own = [loss for loss, owner in zip(single, persons, strict=True) if owner == person]
        assert by_person.by_unit[place] == pytest.approx(np.mean(own), rel=1e-5)
    assert len(by_person.by_unit) == 3


def test_dropout_is_off_and_the_mode_is_restored(tiny_base: Base) -> None:
    dropping = load(tiny_base("llama"), lora={"dropout": 0.5})
    population = Population.of(some_examples(4))
    for training in (True, False):
        dropping.model.train(training)
        first, second = (
            heldout_loss(dropping, CausalLanguageModelling(), population, 4),
            heldout_loss(dropping, CausalLanguageModelling(), population, 4),
        )
        assert first.nll_sum == second.nll_sum
        assert dropping.model.training is training


def test_no_units_have_no_mean(model: AdaptedModel) -> None:
    assert math.isnan(heldout_loss(model, CausalLanguageModelling(), Population.of([]), 4).mean)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("quantization", "dtype"), [("none", "float32"), ("none", "float16"), ("nf4", "bfloat16")])
def test_a_unit_s_loss_is_the_same_to_the_last_bit_whatever_the_others_are(
    tiny_base: Base, quantization: str, dtype: str, threads: int
) -> None:
    model = load(tiny_base("llama"), model={"quantization": quantization, "compute_dtype": dtype})
    examples = random_examples([(5, 9), (12, 3), (46, 1), (45, 2), (20, 30), (3, 17), (60, 4), (30, 20), (2, 1)])
    persons = ["a", "b", "a", "c", "d", "a", "c", "b", "e"]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for population in (Population.of(examples), Population.of(examples, persons)):
            alone = [
                heldout_loss(model, CausalLanguageModelling(), Population((unit,)), 4).by_unit[0]
                for unit in population.units
            ]
            generator = np.random.default_rng(0)
            for _ in range(5):
                kept = generator.permutation(len(population))[: generator.integers(1, len(population) + 1)]
                among = heldout_loss(
                    model, CausalLanguageModelling(), Population(tuple(population.units[place] for place in kept)), 4
                )
                assert among.by_unit.tolist() == [alone[place] for place in kept]
    finally:
        torch.set_num_threads(before)


def test_every_micro_batch_is_filled_up_whatever_is_left_of_the_units(tiny_base: Base) -> None:
    """On some device a product of fewer rows rounds otherwise; shapes are public."""
    model = load(tiny_base("llama"))
    seen: list[tuple[int, ...]] = []
    model.model.get_input_embeddings().register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].shape))
    for count in (1, 4, 9):
        heldout_loss(model, CausalLanguageModelling(), Population.of(some_examples(count)), 4)
    assert len(seen) >= 5
    assert {shape[0] for shape in seen} == {4}


def test_examples_that_yield_nothing_to_predict_have_a_loss_of_zero(model: AdaptedModel) -> None:
    empty, unanswered = Example(np.array([], np.int32), 0), Example(np.array([5, 6], np.int32), 2)
    examples = some_examples(3)
    loss = heldout_loss(model, CausalLanguageModelling(), Population.of([empty, *examples, unanswered]), 2)
    assert loss.by_unit.tolist() == [
        0.0,
        *heldout_loss(model, CausalLanguageModelling(), Population.of(examples), 2).by_unit,
        0.0,
    ]
    assert loss.tokens == sum(example.response_length for example in examples)
    assert heldout_loss(model, CausalLanguageModelling(), Population.of([empty]), 2).by_unit.tolist() == [0.0]


# What leaves the site.


def evaluation(noise: float) -> HeldoutPlan:
    return HeldoutPlan(PrivacyEvent(noise, 1.0, 1))


def test_only_a_plan_without_noise_lets_the_mean_leave_as_it_is() -> None:
    loss, public = losses_of(1.0, 2.5, 11.5), loss_range(8.0)
    assert loss.released_mean(public, evaluation(0.0), SeededEntropy("e")) == 5.0
    noisy = loss.noisy_mean(public, evaluation(2.0), SeededEntropy("e"))
    assert loss.released_mean(public, evaluation(2.0), SeededEntropy("e")) == noisy != loss.clipped_mean(public)


def test_noise_on_the_mean_is_gaussian_of_the_clip_and_the_multiplier() -> None:
    loss = losses_of(*np.random.default_rng(0).uniform(0, 12, 40))
    clip, noise = 8.0, 3.0
    draws = [loss.noisy_mean(loss_range(clip), evaluation(noise), SeededEntropy("e", seed)) for seed in range(2000)]
    std = noise * clip / 40
    assert stats.kstest((np.array(draws) - loss.clipped_mean(loss_range(clip))) / std, "norm").pvalue > 1e-3


def test_every_release_has_fresh_noise() -> None:
    loss = losses_of(1.0, 2.0)
    assert len({loss.noisy_mean(loss_range(8.0), evaluation(1.0), SystemEntropy()) for _ in range(20)}) == 20


finite = st.floats(0, 1e6)
clips = st.floats(1e-3, 1e3)


def summed(loss: HeldoutLoss, clip: float) -> float:
    """The sum before the noise, in clips."""
    return loss.noisy_mean(loss_range(clip), evaluation(0.0), SystemEntropy()) * len(loss.by_unit) / clip


@given(st.lists(finite, min_size=1, max_size=20), st.one_of(finite, st.just(math.inf), st.just(math.nan)), clips)
def test_one_unit_more_moves_the_clipped_sum_by_at_most_the_clip(others: list[float], one: float, clip: float) -> None:
    units = metric.GRID_STEPS
    before, after = (round(summed(losses_of(*losses), clip) * units) for losses in (others, [*others, one]))
    assert 0 <= after - before <= units
    assert after <= units * (len(others) + 1)


def test_a_loss_below_zero_counts_as_zero() -> None:
    assert losses_of(-5.0, 1.0).clipped_mean(loss_range(8.0)) == 0.5
    assert losses_of(-5.0, 1.0).noisy_mean(loss_range(8.0), evaluation(0.0), SystemEntropy()) == 0.5


@pytest.mark.parametrize("broken", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_counts_as_the_largest(broken: float) -> None:
    loss = losses_of(1.0, broken, 3.0)
    assert loss.clipped_mean(loss_range(8.0)) == 4.0
    assert loss.noisy_mean(loss_range(8.0), evaluation(0.0), SystemEntropy()) == pytest.approx(4.0, abs=1e-5)


@pytest.mark.parametrize("broken", [math.inf, -math.inf, math.nan])
def test_nothing_that_leaves_is_not_a_number(broken: float) -> None:
    told = losses_of(1.0, broken, 9.0).released_mean(loss_range(8.0), evaluation(0.0), SeededEntropy("e"))
    assert told == 6.0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), clips)
def test_without_noise_it_is_the_mean_of_clipped_losses(losses: list[float], clip: float) -> None:
    expected = np.clip(losses, 0, clip).mean()
    assert losses_of(*losses).noisy_mean(loss_range(clip), evaluation(0.0), SystemEntropy()) == pytest.approx(
        expected, abs=1e-5 * clip
    )
    assert losses_of(*losses).clipped_mean(loss_range(clip)) == pytest.approx(expected)


def test_the_noise_asked_for_is_the_multiplier_times_the_sensitivity(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def spied(entropy: object, size: int, std: float) -> np.ndarray:
        asked.append((size, std))
        return np.array([metric.GRID_STEPS])

    monkeypatch.setattr(metric, "rounded_gaussian", spied)
    # The noise of one whole clip, spread over two units.
    assert losses_of(1.0, 2.0).noisy_mean(loss_range(4.0), evaluation(2.5), SystemEntropy()) == pytest.approx(
        1.5 + 4.0 / 2, abs=1e-5
    )
    assert asked == [(1, 2.5 * metric.GRID_STEPS)]
