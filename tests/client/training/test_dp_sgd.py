"""A round of DP-SGD on tiny models."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from sealora_client.data.example import Example
from sealora_client.evaluation import heldout_loss
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import collate, response_losses
from sealora_client.training import dp_sgd
from sealora_client.training.dp_sgd import TrainedRound, train_round
from sealora_client.training.per_example import PerExampleGradients
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import BudgetError, DataError, ModelError
from sealora_common.recipe.schema import Recipe

Base = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tiny_base: Base) -> AdaptedModel:
    return AdaptedModel.load(recipe_for(tiny_base("llama")))


@pytest.fixture(autouse=True)
def _fresh_adapter(request: pytest.FixtureRequest) -> None:
    model: AdaptedModel = request.getfixturevalue("model")
    generator = np.random.default_rng(0)
    model.write({spec.name: generator.normal(0, 0.1, spec.shape) for spec in model.layout.tensors})


def recipe_for(base: Path, *, lora: dict[str, Any] | None = None, **changes: dict[str, Any]) -> Recipe:
    sections: dict[str, Any] = {
        "name": "tiny",
        "rounds": 4,
        "model": {"base": str(base), "quantization": "none", "compute_dtype": "float32"},
        "lora": {"rank": 4, **(lora or {})},
        "training": {"sample_rate": 0.5, "steps_per_round": 3, "micro_batch_size": 4, "learning_rate": 1e-2},
    }
    for section, values in changes.items():
        sections[section] = {**sections.get(section, {}), **values}
    return Recipe.model_validate(sections)


def examples_of(count: int, seed: int = 0) -> list[Example]:
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        prompt, response = generator.integers(2, 20), generator.integers(1, 12)
        made.append(Example(generator.integers(3, 384, prompt + response).astype(np.int32), int(prompt)))
    return made


def train(
    model: AdaptedModel, recipe: Recipe, examples: list[Example], *, noise: float = 1.0, seed: str = "s", **more: Any
) -> TrainedRound:
    more.setdefault("round_number", 1)
    return train_round(model, examples, recipe=recipe, noise_multiplier=noise, entropy=SeededEntropy(seed), **more)


def test_one_step_is_the_clipped_sum_of_the_sample_plus_the_noise(
    model: AdaptedModel, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(
        tiny_base("llama"),
        training={"steps_per_round": 1, "optimizer": "sgd", "learning_rate": 0.1},
        privacy={"clip_norm": 0.3},
    )
    examples = examples_of(20)
    drawn, noise = np.array([2, 3, 5, 7, 11, 13, 17]), np.random.default_rng(1).normal(size=model.layout.size)
    layout = model.layout.trained("ffa", 1)
    monkeypatch.setattr(dp_sgd, "poisson_batch", lambda entropy, population, rate: drawn)
    monkeypatch.setattr(dp_sgd, "gaussian", lambda entropy, size, std: std * noise[:size])
    expected = np.zeros(layout.size)
    model.train_only(layout)
    for index in drawn:
        nll, count = response_losses(model.model, collate([examples[index]], model.pad_id, model.device))
        gradients = torch.autograd.grad((nll / count).sum(), model.parameters_of(layout))
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients]).double().numpy()
        expected += flat * min(1.0, 0.3 / np.linalg.norm(flat))
    expected = -0.1 * (expected + 0.3 * 2.0 * noise[: layout.size]) / (0.5 * 20)

    trained = train(model, recipe, examples, noise=2.0)

    assert np.linalg.norm(trained.delta - expected) / np.linalg.norm(expected) < 1e-5
    assert trained.examples_seen == len(drawn)


@pytest.mark.parametrize("micro_batch_size", [1, 3, 100])
def test_the_micro_batch_size_does_not_change_the_result(
    model: AdaptedModel, tiny_base: Base, micro_batch_size: int
) -> None:
    start = model.read(model.layout.names)
    settings = {"optimizer": "sgd", "learning_rate": 0.1}
    reference = train(model, recipe_for(tiny_base("llama"), training=settings), examples_of(12))
    model.write(start)
    other = recipe_for(tiny_base("llama"), training={**settings, "micro_batch_size": micro_batch_size})
    trained = train(model, other, examples_of(12))
    assert np.linalg.norm(trained.delta - reference.delta) < 1e-5 * np.linalg.norm(reference.delta)


def test_a_step_with_an_empty_sample_still_adds_the_noise(
    model: AdaptedModel, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dp_sgd, "poisson_batch", lambda *_: np.zeros(0, dtype=np.int64))
    recipe = recipe_for(
        tiny_base("llama"),
        training={"steps_per_round": 1, "optimizer": "sgd", "learning_rate": 1.0},
        privacy={"clip_norm": 0.5},
    )
    trained = train(model, recipe, examples_of(10), noise=3.0)
    standard_deviation = 3.0 * 0.5 / (0.5 * 10)
    assert trained.examples_seen == 0
    assert trained.moved
    assert stats.kstest(trained.delta / standard_deviation, "norm").pvalue > 1e-3
    assert math.isnan(trained.median_gradient_norm)


def test_every_step_draws_its_own_sample_and_noise_once(
    model: AdaptedModel, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, float]] = []
    real = dp_sgd.gaussian

    def counted(entropy: Any, size: int, std: float) -> Any:
        calls.append((size, std))
        return real(entropy, size, std)

    monkeypatch.setattr(dp_sgd, "gaussian", counted)
    recipe = recipe_for(tiny_base("llama"), training={"micro_batch_size": 1}, privacy={"clip_norm": 0.25})
    train(model, recipe, examples_of(9), noise=2.0)
    assert calls == [(model.layout.trained("ffa", 1).size, 0.5)] * 3


def test_a_seeded_round_is_reproducible_bit_for_bit(model: AdaptedModel, tiny_base: Base) -> None:
    recipe = recipe_for(tiny_base("llama"))
    start = model.read(model.layout.names)
    results = []
    for seed in ("a", "a", "b"):
        model.write(start)
        results.append(train(model, recipe, examples_of(12), seed=seed).delta)
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_dropout_follows_the_entropy_and_leaves_torchs_generator_alone(tiny_base: Base) -> None:
    recipe = recipe_for(tiny_base("llama"), lora={"dropout": 0.5})
    dropping = AdaptedModel.load(recipe)
    start = dropping.read(dropping.layout.names)
    torch.manual_seed(1)
    first = train(dropping, recipe, examples_of(12)).delta
    dropping.write(start)
    state = torch.get_rng_state()
    second = train(dropping, recipe, examples_of(12)).delta
    assert np.array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_delta_is_what_changed_in_the_model(model: AdaptedModel, tiny_base: Base) -> None:
    before = model.read(model.layout.names)
    trained = train(model, recipe_for(tiny_base("llama")), examples_of(12))
    after = model.read(model.layout.names)
    layout = model.layout.trained("ffa", 1)
    assert trained.delta.dtype == np.float32
    assert np.array_equal(trained.delta, layout.flatten(after) - layout.flatten(before))
    assert all(np.array_equal(before[name], after[name]) for name in before if name not in layout.names)


@pytest.mark.parametrize(
    ("aggregation", "round_number", "halves"),
    [("ffa", 1, "B"), ("ffa", 2, "B"), ("alternating", 1, "B"), ("alternating", 2, "A"), ("average", 1, "AB")],
)
def test_the_aggregation_decides_which_half_is_trained(
    model: AdaptedModel, tiny_base: Base, aggregation: str, round_number: int, halves: str
) -> None:
    recipe = recipe_for(tiny_base("llama"), lora={"aggregation": aggregation})
    before = model.read(model.layout.names)
    trained = train(model, recipe, examples_of(12), round_number=round_number)
    after = model.read(model.layout.names)
    for spec in model.layout.tensors:
        moved = not np.array_equal(before[spec.name], after[spec.name])
        assert moved == (("A" if spec.is_a else "B") in halves)
    assert trained.delta.size == model.layout.trained(recipe.lora.aggregation, round_number).size


def test_without_a_mechanism_nothing_is_clipped_and_the_loss_falls(model: AdaptedModel, tiny_base: Base) -> None:
    recipe = recipe_for(
        tiny_base("llama"),
        privacy={"mechanism": "none"},
        training={"steps_per_round": 30, "sample_rate": 0.8, "micro_batch_size": 16},
    )
    examples = examples_of(12)
    before = heldout_loss(model, examples, 4).mean
    trained = train(model, recipe, examples, noise=0.0)
    assert trained.clipped_fraction == 0
    assert heldout_loss(model, examples, 4).mean < 0.7 * before


def test_noise_that_does_not_fit_the_mechanism_is_refused(model: AdaptedModel, tiny_base: Base) -> None:
    none = recipe_for(tiny_base("llama"), privacy={"mechanism": "none"})
    for recipe, noise in (
        (none, 1.0),
        (recipe_for(tiny_base("llama")), 0.0),
        (recipe_for(tiny_base("llama")), math.nan),
    ):
        with pytest.raises(BudgetError, match="noise_multiplier"):
            train(model, recipe, examples_of(3), noise=noise)


def test_no_records_are_refused(model: AdaptedModel, tiny_base: Base) -> None:
    with pytest.raises(DataError, match="no training records"):
        train(model, recipe_for(tiny_base("llama")), [])


def test_the_proximal_term_pulls_towards_the_start(model: AdaptedModel, tiny_base: Base) -> None:
    start = model.read(model.layout.names)
    norms = []
    for mu in (0.0, 5.0):
        model.write(start)
        settings = {"optimizer": "sgd", "learning_rate": 0.1, "steps_per_round": 6, "proximal_mu": mu}
        trained = train(model, recipe_for(tiny_base("llama"), training=settings), examples_of(12))
        norms.append(np.linalg.norm(trained.delta))
    assert norms[1] < 0.9 * norms[0]


def test_carried_moments_continue_a_run_as_if_it_had_not_been_cut(model: AdaptedModel, tiny_base: Base) -> None:
    start = model.read(model.layout.names)
    examples = examples_of(12)

    class Unbroken(SeededEntropy):
        """Skips the dropout seed that each round draws, so that six steps draw what two times three do."""

        def bytes(self, count: int, /) -> bytes:
            return bytes(8) if count == 8 else super().bytes(count)

    def run(steps: int, entropy: Any, state: Any = None) -> TrainedRound:
        recipe = recipe_for(tiny_base("llama"), training={"steps_per_round": steps})
        return train_round(
            model, examples, recipe=recipe, round_number=1, noise_multiplier=1.0, entropy=entropy, optimizer_state=state
        )

    whole = run(6, Unbroken("x")).delta
    model.write(start)
    entropy = Unbroken("x")
    first = run(3, entropy)
    second = run(3, entropy, first.optimizer_state)
    assert np.allclose(first.delta + second.delta, whole, atol=1e-6)
    assert second.optimizer_state is not None
    assert second.optimizer_state.step == 6


def test_statistics_count_what_happened(model: AdaptedModel, tiny_base: Base) -> None:
    recipe = recipe_for(
        tiny_base("llama"), training={"sample_rate": 1.0, "steps_per_round": 2}, privacy={"clip_norm": 1e-6}
    )
    steps: list[tuple[int, int]] = []
    trained = train(model, recipe, examples_of(7), on_step=lambda done, of: steps.append((done, of)))
    assert steps == [(1, 2), (2, 2)]
    assert (trained.steps, trained.examples_seen, trained.non_finite) == (2, 14, 0)
    assert trained.clipped_fraction == 1
    assert trained.median_gradient_norm > 1e-6


def test_an_example_that_overflows_is_counted_and_harms_nobody(
    model: AdaptedModel, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(on: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        nll, count = response_losses(on, batch)
        factor = torch.where(batch.attention_mask.sum(1) == 3, math.nan, 1.0)
        return nll * factor, count

    monkeypatch.setattr(dp_sgd, "response_losses", poisoned)
    poison = Example(np.array([3, 4, 5], dtype=np.int32), 2)
    others = [example for example in examples_of(12) if len(example.tokens) > 3]
    recipe = recipe_for(tiny_base("llama"), training={"sample_rate": 1.0})
    trained = train(model, recipe, [*others, poison])
    assert trained.non_finite == 3
    assert np.isfinite(trained.delta).all()


def test_diverged_weights_are_refused(model: AdaptedModel, tiny_base: Base) -> None:
    recipe = recipe_for(
        tiny_base("llama"),
        training={"optimizer": "sgd", "learning_rate": 1e38, "steps_per_round": 1},
        privacy={"clip_norm": 1e9},
    )
    with pytest.raises(ModelError, match=r"diverged in round 1: lower training\.learning_rate"):
        train(model, recipe, examples_of(5))


def test_an_adapter_that_does_not_move_is_flagged(
    model: AdaptedModel, tiny_base: Base, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = recipe_for(tiny_base("llama"), training={"optimizer": "sgd", "learning_rate": 1e-40})
    assert not train(model, recipe, examples_of(5)).moved
    assert "did not change the adapter" in caplog.text


def test_buffers_do_not_grow_with_the_logical_batch(
    model: AdaptedModel, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: set[tuple[int, ...]] = set()
    largest = 0

    class Measured(PerExampleGradients):
        def begin(self, batch: int, length: int) -> None:
            nonlocal largest
            super().begin(batch, length)
            sizes.add(tuple(self.flat.shape))
            largest = max(largest, batch)

    monkeypatch.setattr(dp_sgd, "PerExampleGradients", Measured)
    for records in (8, 80):
        recipe = recipe_for(tiny_base("llama"), training={"sample_rate": 1.0, "steps_per_round": 1})
        assert train(model, recipe, examples_of(records)).examples_seen == records
    assert sizes == {(4, model.layout.trained("ffa", 1).size)}
    assert largest == 4


def test_the_model_is_left_in_its_mode_with_its_forwards(model: AdaptedModel, tiny_base: Base) -> None:
    for training in (True, False):
        model.model.train(training)
        train(model, recipe_for(tiny_base("llama")), examples_of(5))
        heldout_loss(model, examples_of(3), 2)
        assert model.model.training is training
    assert all("forward" not in linear.__dict__ for _, linear in model.lora_linears())


def test_eight_bit_moments_fall_back_on_a_cpu(
    model: AdaptedModel, tiny_base: Base, caplog: pytest.LogCaptureFixture
) -> None:
    if torch.cuda.is_available():
        pytest.skip("CUDA has the 8-bit optimiser")
    start = model.read(model.layout.names)
    plain = train(model, recipe_for(tiny_base("llama")), examples_of(5)).delta
    model.write(start)
    recipe = recipe_for(tiny_base("llama"), training={"optimizer": "paged_adamw_8bit"})
    assert np.array_equal(train(model, recipe, examples_of(5)).delta, plain)
    assert "needs CUDA; using adamw" in caplog.text


def test_an_evaluation_between_rounds_does_not_change_four_bit_training(tiny_base: Base) -> None:
    settings = {"quantization": "nf4", "compute_dtype": "bfloat16"}
    recipe = recipe_for(tiny_base("llama"), model=settings)
    four_bit = AdaptedModel.load(recipe)
    start = four_bit.read(four_bit.layout.names)
    before = train(four_bit, recipe, examples_of(12)).delta
    heldout_loss(four_bit, examples_of(12), 4)
    four_bit.write(start)
    assert np.array_equal(train(four_bit, recipe, examples_of(12)).delta, before)


def test_heldout_loss_does_not_depend_on_batching(model: AdaptedModel) -> None:
    examples = examples_of(9)
    single, batched = heldout_loss(model, examples, 1), heldout_loss(model, examples, 4)
    assert single.tokens == batched.tokens == sum(example.response_length for example in examples)
    assert batched.nll_sum == pytest.approx(single.nll_sum, rel=1e-5)
    assert single.mean == single.nll_sum / single.tokens
    assert math.isnan(heldout_loss(model, [], 4).mean)


def test_a_trained_round_is_immutable(model: AdaptedModel, tiny_base: Base) -> None:
    trained = train(model, recipe_for(tiny_base("llama")), examples_of(3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        trained.steps = 0  # type: ignore[misc]
